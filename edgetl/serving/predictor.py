"""Pictures in, predictions out: a bounded queue, a thread that reads, a thread with the engine.

The engine runs one picture at a time, as it uses the processor's cores itself. While it runs, the
next pictures are decoded, so that it does not wait for them.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from PIL import Image

from edgetl.bundle.reports import Prediction
from edgetl.core.errors import DataError, EdgetlError
from edgetl.runtime.classifier import Classifier, ReadPicture
from edgetl.runtime.preprocess import PictureLimits
from edgetl.runtime.sources import Source
from edgetl.serving.limits import Limits
from edgetl.serving.refusals import OverloadedError

Answer = Prediction | DataError
"""A picture's prediction, or why it cannot be read."""

_log = logging.getLogger(__name__)

# How many pictures are decoded ahead of the engine.
_AHEAD = 2
# An engine that answered this recently is not asked whether it works.
_FRESH_S = 5.0
# An engine that takes longer than this for an empty picture is not well.
_PROBE_S = 10.0
# An engine that does not come back is left behind: its thread ends with the process.
_CLOSE_S = 2.0
# Answers are usually there by then; watching for clients that hang up costs more than waiting.
_BEFORE_WATCHING_S = 0.25


class Observer(Protocol):
    """Is given every answer, e.g. to count or to keep it."""

    def add(self, picture: bytes, prediction: Prediction) -> None:
        """Take a picture, as it was received, and its prediction.

        This is called on the engine's thread before the answer is sent: what takes long belongs on
        a thread of the observer's own. An exception is logged, and the answer is sent.
        """
        ...


class _Job:
    """The pictures of one request, and the answers so far.

    Attributes:
        over: nobody waits for the answers any more.
    """

    def __init__(self, sources: Sequence[Source], top: int, explain: bool) -> None:
        self.sources, self.top, self.explain = sources, top, explain
        self.over = False
        self._answers: list[Answer] = []
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[Answer]] = self._loop.create_future()

    def add(self, answer: Answer) -> None:
        """Add the next picture's answer; the last one ends the job."""
        self._answers.append(answer)
        if len(self._answers) == len(self.sources):
            self._deliver(lambda: self.result.set_result(self._answers))

    def fail(self, error: Exception) -> None:
        """End the job with an error."""
        self.over = True
        self._deliver(lambda: self.result.set_exception(error))

    def abandon(self) -> None:
        """Have the pictures that are not answered yet left out."""
        self.over = True
        self.result.cancel()

    def _deliver(self, deliver: Callable[[], None]) -> None:
        def deliver_if_awaited() -> None:
            if not self.result.done():
                deliver()

        with suppress(RuntimeError):  # the loop is closed: the server did not wait for this
            self._loop.call_soon_threadsafe(deliver_if_awaited)


_Decoded = tuple[_Job, Source, ReadPicture | Exception]


class Predictor:
    """Answers the requests of an event loop, in the order in which they come.

    Args:
        classifier: the loaded network.
        limits: how many requests may wait, for how long, and how large a picture may be.
        unknown: whether to answer "unknown" to pictures that are unlike the training classes.
        observers: are given every answer.
    """

    def __init__(
        self,
        classifier: Classifier,
        limits: Limits,
        *,
        unknown: bool,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.classifier, self.unknown = classifier, unknown
        self.stopping = False
        self._limits, self._observers = limits, observers
        self._picture_limits = PictureLimits(limits.pixels)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(limits.queue)
        self._decoded: queue.Queue[_Decoded | None] = queue.Queue(_AHEAD)
        self._answered = -_FRESH_S
        self._check: asyncio.Task[bool] | None = None
        self._threads = [
            threading.Thread(target=self._read_pictures, name="edgetl-read", daemon=True),
            threading.Thread(target=self._run_engine, name="edgetl-engine", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many requests wait for the engine."""
        return self._jobs.qsize()

    def require_room(self) -> None:
        """Raise OverloadedError if a request that came now would be refused."""
        if self._jobs.full():
            raise self._full()

    async def predict(
        self,
        sources: Sequence[Source],
        *,
        top: int,
        explain: bool,
        gone: Callable[[], Awaitable[None]],
    ) -> list[Answer]:
        """Answer the pictures of one request, in order.

        Args:
            sources: at least one picture, as bytes.
            top, explain: as for a call of the classifier.
            gone: returns when the client has hung up; awaited only if an answer takes long.

        Raises OverloadedError if the queue is full or the answers take too long, EngineError if the
        engine fails, ConnectionAbortedError if the client has hung up.
        """
        job = self._submit(_Job(sources, top, explain))
        try:
            if not (await asyncio.wait({job.result}, timeout=_BEFORE_WATCHING_S))[0]:
                await self._wait_longer(job, gone)
            return job.result.result()
        finally:
            job.abandon()

    async def works(self) -> bool:
        """Whether the engine answers; asks it with an empty picture if it has not just answered."""
        if self.stopping:
            return False
        if time.monotonic() - self._answered < _FRESH_S:
            return True
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._probe())
        return await asyncio.shield(self._check)

    def close(self) -> None:
        """End the threads, after the picture that is being answered."""
        self.stopping = True
        with suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        self._jobs.put(None)
        for thread in self._threads:
            thread.join(_CLOSE_S)

    def _submit(self, job: _Job) -> _Job:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise self._full() from None
        return job

    def _full(self) -> OverloadedError:
        return OverloadedError("queue", f"The queue of {self._limits.queue} requests is full.")

    async def _wait_longer(self, job: _Job, gone: Callable[[], Awaitable[None]]) -> None:
        hung_up: asyncio.Future[None] = asyncio.ensure_future(gone())
        try:
            await asyncio.wait(
                (job.result, hung_up),
                timeout=self._limits.answer_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            hung_up.cancel()
        if job.result.done():
            return
        if hung_up.done():
            raise ConnectionAbortedError("the client has hung up")
        raise OverloadedError("time", f"There was no answer within {self._limits.answer_s:g} s.")

    async def _probe(self) -> bool:
        side = self.classifier.preprocess.size_px
        empty = Source("-", Image.new("RGB", (side, side)))
        try:
            job = self._submit(_Job([empty], top=1, explain=False))
            await asyncio.wait_for(job.result, _PROBE_S)
        except (OverloadedError, EdgetlError, asyncio.TimeoutError):
            return False
        return True

    def _read_pictures(self) -> None:
        while (job := self._jobs.get()) is not None:
            for source in job.sources:
                if job.over:
                    break
                self._decoded.put((job, source, self._read_or_error(source)))
        self._decoded.put(None)

    def _read_or_error(self, source: Source) -> ReadPicture | Exception:
        try:
            return self.classifier.read(source.picture, limits=self._picture_limits)
        except Exception as error:  # a bug, if it is no DataError; the thread goes on
            return error

    def _run_engine(self) -> None:
        while (item := self._decoded.get()) is not None:
            job, source, read = item
            if job.over:
                continue
            try:
                job.add(self._answer(job, source, read))
            except Exception as error:  # the engine's, or a bug: the request fails
                job.fail(error)

    def _answer(self, job: _Job, source: Source, read: ReadPicture | Exception) -> Answer:
        if isinstance(read, DataError):
            return read
        if isinstance(read, Exception):
            raise read
        prediction = self.classifier.answer(
            read, source=source.name, top=job.top, explain=job.explain, unknown=self.unknown
        )
        self._answered = time.monotonic()
        if isinstance(source.picture, bytes):  # else it is the server's own, to see if this works
            self._observe(source.picture, prediction)
        return prediction

    def _observe(self, picture: bytes, prediction: Prediction) -> None:
        for observer in self._observers:
            try:
                observer.add(picture, prediction)
            except Exception:  # what an observer does must not keep an answer from its client
                _log.exception("An observer failed.")
