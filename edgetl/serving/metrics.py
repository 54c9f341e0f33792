"""The metrics that Prometheus collects, in a registry of the application's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as Source
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgetl.bundle.reports import Prediction

# From a small network on a desktop to a large picture on a Raspberry Pi Zero, in seconds.
_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
_REASONS = ("queue", "memory", "time", "connections")


class Metrics:
    """What is counted and timed. Labels come from the bundle, so their number is bounded.

    Args:
        info: facts about the server, e.g. its version, as labels of `edgetl_info`.
    """

    def __init__(self, info: dict[str, str]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("edgetl_info", "The server: always 1.", info, registry=registry).labels(**info).set(1)
        self._queue = Gauge(
            "edgetl_queue_length", "Requests waiting for the engine.", registry=registry
        )
        self.in_flight = Gauge(
            "edgetl_requests_in_flight", "Requests that are not answered yet.", registry=registry
        )
        self._requests = Counter(
            "edgetl_requests", "Answered requests.", ["status"], registry=registry
        )
        self._rejected = Counter(
            "edgetl_rejected",
            "Requests for which there was no room, and connections over the limit.",
            ["reason"],
            registry=registry,
        )
        for reason in _REASONS:
            self._rejected.labels(reason)
        self._pictures = Counter(
            "edgetl_pictures", "Predictions.", ["label", "unknown"], registry=registry
        )
        self._unreadable = Counter(
            "edgetl_pictures_unreadable", "Pictures that could not be read.", registry=registry
        )
        latency = Histogram(
            "edgetl_latency_seconds",
            "Time of a picture's decoding, resizing and inference; total: of a whole request.",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._decode = latency.labels("decode")
        self._preprocess = latency.labels("preprocess")
        self._inference = latency.labels("inference")
        self._total = latency.labels("total")

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Have `waiting` called for the number of requests that wait for the engine."""
        self._queue.set_function(waiting)

    def register(self, source: Source) -> None:
        """Add the metrics that `source` collects when they are asked for."""
        self._registry.register(source)

    def add(self, _: bytes, prediction: Prediction) -> None:
        """Count a prediction (`edgetl.serving.predictor.Observer`)."""
        unknown = "true" if prediction.unknown else "false"
        self._pictures.labels(prediction.label, unknown).inc()
        self._decode.observe(prediction.decode_ms / 1e3)
        self._preprocess.observe(prediction.preprocess_ms / 1e3)
        self._inference.observe(prediction.inference_ms / 1e3)

    def unreadable(self, count: int) -> None:
        """Count pictures that could not be read."""
        self._unreadable.inc(count)

    def request_took(self, seconds: float) -> None:
        """Time a request whose pictures were answered, from its head to its answer."""
        self._total.observe(seconds)

    def answered(self, status: int) -> None:
        """Count a request by its status code."""
        self._requests.labels(str(status)).inc()

    def rejected(self, reason: str) -> None:
        """Count what was rejected for want of room: a reason of `_REASONS`."""
        self._rejected.labels(reason).inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics, and their content type, in the format that an Accept header prefers."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class Counted:
    """ASGI middleware that counts requests by their status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        statuses: list[int] = []

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, counting)
            finally:
                # Without an answer it ends with an exception, which the outermost layer answers.
                self._metrics.answered(statuses[0] if statuses else 500)
