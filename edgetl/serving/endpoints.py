"""What the application answers under each address."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from edgetl.bundle.reports import Prediction
from edgetl.core.errors import DataError
from edgetl.runtime.sources import Source
from edgetl.serving.answers import Health, Model, PictureFailure
from edgetl.serving.bodies import Memory, is_form, read_pictures
from edgetl.serving.limits import Limits
from edgetl.serving.metrics import Metrics
from edgetl.serving.openapi import describe_api
from edgetl.serving.parameters import read_parameters
from edgetl.serving.predictor import Answer, Predictor
from edgetl.serving.refusals import OverloadedError, RefusedError


class Endpoints:
    """The application's endpoints.

    Args:
        predictor: answers the pictures.
        metrics: counts them.
        health, model: the answers to requests for these.
        limits: what a request may have.
    """

    def __init__(
        self, predictor: Predictor, metrics: Metrics, health: Health, model: Model, limits: Limits
    ) -> None:
        self._predictor, self._metrics, self._limits = predictor, metrics, limits
        self._health, self._model = msgspec.json.encode(health), msgspec.json.encode(model)
        self._explains = model.explains
        self._memory = Memory(limits.held_bytes)
        self._api = msgspec.json.encode(describe_api(limits))

    async def predict(self, request: Request) -> Response:
        """Answer the pictures of a request."""
        begun = time.perf_counter()
        parameters = read_parameters(request.scope["query_string"], explains=self._explains)
        try:
            self._predictor.require_room()
            with self._memory.reservation() as take:
                sources = await read_pictures(request, self._limits, take)
                answers = await self._predictor.predict(
                    sources,
                    top=parameters.top,
                    explain=parameters.explain,
                    gone=lambda: _hung_up(request),
                )
        except OverloadedError as error:
            self._metrics.rejected(error.reason)
            raise
        except asyncio.CancelledError:
            if not self._predictor.stopping:
                raise
            raise RefusedError(503, "The server is stopping.") from None
        self._metrics.request_took(time.perf_counter() - begun)
        self._metrics.unreadable(sum(isinstance(answer, DataError) for answer in answers))
        return _several(sources, answers) if is_form(request) else _one(answers[0])

    async def model(self, _: Request) -> Response:
        """Describe the model."""
        return _json(self._model)

    async def healthz(self, _: Request) -> Response:
        """Say what runs, if it answers."""
        if not await self._predictor.works():
            raise RefusedError(503, "The engine does not answer.")
        return _json(self._health)

    async def metrics(self, request: Request) -> Response:
        """Give Prometheus the metrics, some of which read the disk."""
        accept = request.headers.get("accept", "")
        content, content_type = await run_in_threadpool(self._metrics.exposition, accept)
        return Response(content, media_type=content_type)

    async def openapi(self, _: Request) -> Response:
        """Describe the API."""
        return _json(self._api)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _one(answer: Answer) -> Response:
    if isinstance(answer, DataError):
        raise RefusedError(422, str(answer), hint=answer.hint)
    return _json(msgspec.json.encode(answer))


def _several(sources: Sequence[Source], answers: Sequence[Answer]) -> Response:
    entries: list[Prediction | PictureFailure] = [
        PictureFailure(source=source.name, error=str(answer), hint=answer.hint)
        if isinstance(answer, DataError)
        else answer
        for source, answer in zip(sources, answers, strict=True)
    ]
    return _json(msgspec.json.encode(entries))


def _json(content: bytes) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(content, headers=headers, media_type="application/json")
