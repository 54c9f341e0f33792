"""Pictures in, predictions out: a bounded queue, and two threads that take turns at the engine.

The engine runs one picture at a time, as it uses the processor's cores itself. While it runs for
one thread, the other decodes the next picture, so that the engine does not wait. A picture stays on
its thread: handing it over would take longer than it saves.
"""

import asyncio
import functools
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from PIL import Image

from edgetl.bundle.reports import Prediction
from edgetl.core.errors import DataError
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.preprocess import PictureLimits
from edgetl.runtime.sources import Source
from edgetl.serving.limits import Limits
from edgetl.serving.refusals import OverloadedError

Answer = Prediction | DataError
"""A picture's prediction, or why it cannot be read."""

_log = logging.getLogger(__name__)

_THREADS = 2
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

        This is called for one picture at a time, before its answer is sent and while the engine
        waits: what takes long belongs on a thread of the observer's own. An exception is logged,
        and the answer is sent.
        """
        ...


class _AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class _Job:
    """The pictures of one request, and the answers so far.

    Threads only use `source`, `top`, `explain`, `loop` and `require_awaited`.
    """

    def __init__(self, sources: Sequence[Source], top: int, explain: bool) -> None:
        self._sources, self.count = sources, len(sources)
        self.top, self.explain = top, explain
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[Answer]] = self.loop.create_future()
        self._answers: dict[int, Answer] = {}

    def require_awaited(self) -> None:
        """Raise _AbandonedError if the job has ended: by an error, or because nobody waits."""
        if self.result.done():
            raise _AbandonedError

    def source(self, number: int) -> Source:
        """The picture of this number. Raises _AbandonedError as `require_awaited`."""
        sources = self._sources  # before asking: `abandon` ends the job first, then drops them
        self.require_awaited()
        return sources[number]

    def abandon(self) -> None:
        """End the job, if it has not ended, and drop its pictures, although threads have it."""
        self.result.cancel()  # no effect on one that is done
        self._sources = ()

    def add(self, number: int, answer: Answer) -> None:
        """Add the answer to the picture of this number; the last one ends the job."""
        self._answers[number] = answer
        if len(self._answers) == self.count and not self.result.done():
            self.result.set_result([self._answers[n] for n in range(self.count)])

    def fail(self, error: Exception) -> None:
        """End the job with an error."""
        if not self.result.done():
            self.result.set_exception(error)


class Predictor:
    """Answers the requests of an event loop, in the order in which they come.

    Args:
        classifier: the loaded network.
        limits: how many requests may wait, for how long, and how large a picture may be.
        unknown: whether to answer "unknown" to pictures that are unlike the training classes.
        observers: are given every answer.

    Attributes:
        waiting: how many requests wait for a thread.
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
        # One entry for each picture; `waiting` bounds the requests that they belong to.
        self._pictures: queue.SimpleQueue[tuple[_Job, int] | None] = queue.SimpleQueue()
        self.waiting = 0
        self._counting, self._engine = threading.Lock(), threading.Lock()
        self._answered = -_FRESH_S
        self._check: _Job | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"edgetl-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def require_room(self) -> None:
        """Raise OverloadedError if a request that came now would be refused."""
        if self.waiting >= self._limits.queue:
            raise OverloadedError("queue", f"The queue of {self._limits.queue} requests is full.")

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
        """Whether the engine answers; asks it with an empty picture if it has not just answered.

        The empty picture does not wait in the queue: neither many nor unreadable pictures there
        say anything about the engine.
        """
        begun = time.monotonic()
        if self.stopping:
            return False
        if begun - self._answered < _FRESH_S:
            return True
        if self._check is None or self._check.result.done():
            self._check = self._ask_engine()
        await asyncio.wait({self._check.result}, timeout=_PROBE_S)
        return self._answered > begun

    def close(self) -> None:
        """End the threads, after the pictures that they are answering."""
        self.stopping = True
        with suppress(queue.Empty):
            while True:
                self._pictures.get_nowait()
        for _ in self._threads:
            self._pictures.put(None)
        end = time.monotonic() + _CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _submit(self, job: _Job) -> _Job:
        self.require_room()
        self._count_waiting(1)
        for number in range(job.count):
            self._pictures.put((job, number))
        return job

    def _count_waiting(self, change: int) -> None:
        with self._counting:
            self.waiting += change

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

    def _ask_engine(self) -> _Job:
        """Ask it with an empty picture, on a thread of its own, which an engine may never end."""
        side = self.classifier.preprocess.size_px
        job = _Job([Source("-", Image.new("RGB", (side, side)))], top=1, explain=False)
        job.result.add_done_callback(lambda result: result.exception())  # or asyncio logs it
        threading.Thread(target=self._do, args=(job, 0), name="engine-check", daemon=True).start()
        return job

    def _work(self) -> None:
        while (entry := self._pictures.get()) is not None:
            job, number = entry
            if number == 0:
                self._count_waiting(-1)
            self._do(job, number)

    def _do(self, job: _Job, number: int) -> None:
        """Answer a picture of a job."""
        answered: Callable[[], None]
        try:
            answered = functools.partial(job.add, number, self._answer(job, number))
        except _AbandonedError:
            return
        except Exception as error:  # the engine's, or a bug: the request fails
            answered = functools.partial(job.fail, error)
        with suppress(RuntimeError):  # the loop is closed: the server did not wait for this
            job.loop.call_soon_threadsafe(answered)

    def _answer(self, job: _Job, number: int) -> Answer:
        source = job.source(number)
        try:
            read = self.classifier.read(source.picture, limits=self._picture_limits)
        except DataError as error:
            return error
        with self._engine:
            job.require_awaited()
            prediction = self.classifier.answer(
                read, source=source.name, top=job.top, explain=job.explain, unknown=self.unknown
            )
            self._answered = time.monotonic()
            if isinstance(source.picture, bytes):  # else it is the server's own, from `works`
                self._observe(source.picture, prediction)
        return prediction

    def _observe(self, picture: bytes, prediction: Prediction) -> None:
        for observer in self._observers:
            try:
                observer.add(picture, prediction)
            except Exception:  # what an observer does must not keep an answer from its client
                _log.exception("An observer failed.")
