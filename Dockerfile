# The device half with one or more engines, for x86-64 and arm64:
#     docker build --build-arg ENGINES=onnxruntime,litert -t edgetl .
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md CHANGELOG.md CITATION.cff LICENSE ./
COPY edgetl edgetl
COPY recipes recipes
COPY devices devices
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.11-slim-bookworm
ARG ENGINES=onnxruntime
# Some engines' ARM wheels link to these.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libatomic1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir "$(echo /dist/edgetl-*.whl)[$ENGINES]"
RUN useradd --create-home edgetl
USER edgetl
WORKDIR /data
ENTRYPOINT ["edgetl"]
CMD ["--help"]
