# Two commands for a newcomer: `make demo` runs the main job, `make test` passes the tests.
# Each makes its own environment in .venv from the pinned constraints.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# Three processes, on two cores too: some tests only wait. Tests of a file share what they make.
# Files keep the order of tests/conftest.py, in which the slow ones come first.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test check lint slow-test test-gpu short-test-arm64 test-arm64 test-pythons device-test docs constraints clean

demo: $(VENV)/ready
	$(BIN)/edgetl demo -o $(DEMO)

# All in one call of pytest: what several tests use is made once, and no process waits at its end.
test: lint
	$(PYTEST) -m "(not arm64 or arm64_short) and not pythons and not larger"

# Format, lint, types, import rules, fast tests.
check: lint
	$(PYTEST) -m "not slow and not arm64"

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow-test: $(VENV)/ready
	$(PYTEST) -m "slow and not arm64 and not pythons"

# On a machine with a CUDA GPU: captured steps, memory, resuming, every recipe.
test-gpu: $(VENV)/ready
	$(BIN)/pytest -m gpu -rs

# One emulated ARM board and one engine pair. Without QEMU's packages or a network it is skipped.
short-test-arm64: $(VENV)/ready
	$(BIN)/pytest -m arm64_short -rs

# Every emulated ARM board: some ten minutes (docs/arm64.md).
test-arm64: $(VENV)/ready
	$(BIN)/pytest -m arm64 -rs

# The device half on each python3.10 to python3.13 of the PATH: a minute or two each.
test-pythons: $(VENV)/ready
	$(BIN)/pytest -m pythons -rs

# The device half on one Python, in an environment without torch, with a bundle that was made
# elsewhere: make device-test PYTHON=python3.13 ENGINES=litert BUNDLE=build/tiny.edgetl
ENGINES ?= onnxruntime,openvino,litert
BUNDLE ?= build/tiny.edgetl
DEVICE_VENV ?= .venv-device
device-test:
	test -f "$(BUNDLE)"
	"$(PYTHON)" -m venv "$(DEVICE_VENV)"
	"$(DEVICE_VENV)/bin/python" -m pip install --quiet -e '.[$(ENGINES)]' pytest
	EDGETL_TEST_BUNDLE="$(abspath $(BUNDLE))" "$(DEVICE_VENV)/bin/python" -m pytest -rs \
	  tests/runtime tests/evaluation tests/benchmarking

build/tiny.edgetl: $(VENV)/ready
	mkdir -p build
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.tiny $@

# The documentation as a website in site/, with the reference made of the code: no broken link.
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html is ready; to search in it: $(BIN)/mkdocs serve"

# Debian splits venv off: say so instead of failing in the middle.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "python3 has no venv module here; install it: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# Pin what is installed now: run after changing a dependency in pyproject.toml.
constraints: $(VENV)/ready
	{ echo '# Versions known to work together on Python 3.11; written by `make constraints`.'; \
	  $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

clean:
	rm -rf $(VENV) $(DEVICE_VENV) $(DEMO) build dist site
