"""The web application: what `edgetl serve` runs, and what other applications can mount."""

import io
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ExceptionHandler, Lifespan

from edgetl.core.errors import EngineError
from edgetl.runtime.classifier import Classifier
from edgetl.serving.answers import describe_health, describe_model
from edgetl.serving.endpoints import Endpoints
from edgetl.serving.limits import DEFAULT_LIMITS, Limits
from edgetl.serving.metrics import Counted, Metrics
from edgetl.serving.pages import page
from edgetl.serving.predictor import Observer, Predictor
from edgetl.serving.refusals import RefusedError
from edgetl.serving.security import Guard, RequireToken

_log = logging.getLogger(__name__)

# nginx's status for a client that did not wait; it only reaches the metrics.
_CLIENT_CLOSED_REQUEST = 499


def make_app(
    classifier: Classifier,
    *,
    limits: Limits = DEFAULT_LIMITS,
    unknown: bool | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    observers: Sequence[Observer] = (),
) -> Starlette:
    """Make a web application that answers pictures with a classifier.

    It can run by itself or be mounted in another Starlette or FastAPI application. A mounted
    application's threads are not ended by its host: call `app.state.predictor.close()`.

    Args:
        classifier: the loaded network; nothing else may use it meanwhile.
        limits: sizes, counts and seconds. Those of connections are the server's
            (`edgetl.serving.server`), not the application's.
        unknown: whether to answer "unknown" to pictures that are unlike the training classes; None:
            if the bundle can.
        token: what clients must send as a bearer token; None: nothing.
        hosts: the names that a Host header may have, beside this machine's own, e.g. "localhost";
            None: any.
        observers: are given every picture with its prediction.

    Raises EngineError if the engine fails, BundleError if `unknown` is set and the bundle cannot.

    Examples:
        ```python
        app = make_app(edgetl.Classifier("model.edgetl"))  # uvicorn mymodule:app
        site.mount("/classify", app)
        ```
    """
    if unknown is None:
        unknown = classifier.has_unknown_rule
    _warm_up(classifier, unknown)
    health = describe_health(classifier)
    metrics = Metrics(
        {name: value for name, value in msgspec.structs.asdict(health).items() if name != "status"}
    )
    predictor = Predictor(classifier, limits, unknown=unknown, observers=(metrics, *observers))
    metrics.watch_queue(lambda: predictor.waiting)
    model = describe_model(classifier, limits, unknown=unknown)
    app = Starlette(
        routes=_routes(Endpoints(predictor, metrics, health, model, limits), token),
        middleware=[Middleware(Counted, metrics=metrics), Middleware(Guard, hosts=hosts)],
        exception_handlers=_HANDLERS,
        lifespan=_ending(predictor),
    )
    app.state.predictor, app.state.metrics = predictor, metrics
    return app


def _warm_up(classifier: Classifier, unknown: bool) -> None:
    """Answer an empty JPEG: the first answer takes longest, and errors come before the start."""
    side, empty = classifier.preprocess.size_px, io.BytesIO()
    Image.new("RGB", (side, side)).save(empty, "JPEG")
    classifier(empty.getvalue(), unknown=unknown)


def _routes(endpoints: Endpoints, token: str | None) -> list[Route]:
    """What has no token is either no secret or a page with a field for the token."""
    locked = [Middleware(RequireToken, token=token)]
    return [
        Route("/v1/predict", endpoints.predict, methods=["POST"], middleware=locked),
        Route("/v1/model", endpoints.model, middleware=locked),
        Route("/metrics", endpoints.metrics, middleware=locked),
        Route("/openapi.json", endpoints.openapi, middleware=locked),
        Route("/healthz", endpoints.healthz),
        Route("/docs", page("docs.html")),
        Route("/", page("page.html")),
    ]


def _ending(predictor: Predictor) -> Lifespan[Starlette]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        predictor.close()

    return lifespan


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response()


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 405:
        told = f"'{path}' does not take {request.method}."
        return RefusedError(405, told, headers=error.headers).response()
    return RefusedError(
        error.status_code, f"There is no '{path}'.", hint="/docs lists what there is."
    ).response()


async def _hung_up(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _engine_failed(_: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return RefusedError(500, str(error)).response()


async def _failed(_: Request, __: Exception) -> Response:
    """Answer after a bug; Starlette raises its exception again, for the server's log."""
    return RefusedError(500, "The server failed; its log says why.").response()


_HANDLERS: dict[Any, ExceptionHandler] = {
    RefusedError: _refused,
    HTTPException: _not_routed,
    ConnectionAbortedError: _hung_up,
    EngineError: _engine_failed,
    Exception: _failed,
}
