"""The queue and the threads between requests and the engine; the application in another one."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import Prediction
from edgetl.core.errors import DataError, EngineError
from edgetl.runtime.classifier import Classifier, ReadPicture
from edgetl.runtime.preprocess import Picture
from edgetl.runtime.sources import Source
from edgetl.serving import predictor as module
from edgetl.serving.app import make_app
from edgetl.serving.limits import Limits
from edgetl.serving.predictor import Answer, Predictor
from edgetl.serving.refusals import OverloadedError
from tests.making import KINDS
from tests.serving.running import PICTURE


class Flaky(Classifier):
    """A classifier whose engine fails on demand."""

    error: Exception | None = None

    def answer(self, read: ReadPicture, **options: object) -> Prediction:
        """Fail, if there is an error to fail with."""
        if self.error:
            raise self.error
        return super().answer(read, **options)  # type: ignore[arg-type]


@pytest.fixture
def flaky(tiny: Bundle) -> Flaky:
    return Flaky(tiny, threads=1)


@pytest.fixture
def predictor(flaky: Flaky) -> Iterator[Predictor]:
    predictor = Predictor(flaky, Limits(answer_s=5), unknown=False)
    yield predictor
    predictor.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("edgetl-")]


async def ask(predictor: Predictor, *pictures: bytes) -> list[Answer]:
    async def never() -> None:
        await asyncio.sleep(60)

    sources = [Source(str(number), picture) for number, picture in enumerate(pictures)]
    return await predictor.predict(sources, top=3, explain=False, gone=never)


def test_answers_are_in_order_whatever_is_broken(
    predictor: Predictor, flaky: Flaky, pictures: Path
) -> None:
    good = [(pictures / kind / "00.png").read_bytes() for kind in KINDS]
    answers = asyncio.run(ask(predictor, good[0], b"broken", good[1], b"", good[2]))
    assert [type(answer) for answer in answers] == [
        Prediction, DataError, Prediction, DataError, Prediction,
    ]  # fmt: skip
    tops = [answer.top for answer in answers if isinstance(answer, Prediction)]
    assert tops == [flaky(picture, top=3).top for picture in good]
    sources = [answer.source for answer in answers if isinstance(answer, Prediction)]
    assert sources == ["0", "2", "4"]


def test_many_requests_at_once_get_their_own_answers(
    predictor: Predictor, flaky: Flaky, pictures: Path
) -> None:
    files = [(pictures / kind / f"{n:02}.png").read_bytes() for kind in KINDS for n in range(10)]

    async def all_at_once() -> list[list[Answer]]:
        return await asyncio.gather(*(ask(predictor, file) for file in files))

    answers = [answer for (answer,) in asyncio.run(all_at_once())]
    assert all(isinstance(answer, Prediction) for answer in answers)
    assert [a.top for a in answers if isinstance(a, Prediction)] == [
        flaky(file, top=3).top for file in files
    ]


@pytest.mark.parametrize("error", [EngineError("it broke"), ZeroDivisionError("a bug")])
def test_a_failing_engine_fails_the_request_and_not_the_next(
    predictor: Predictor, flaky: Flaky, error: Exception
) -> None:
    flaky.error = error
    with pytest.raises(type(error), match=str(error)):
        asyncio.run(ask(predictor, PICTURE, PICTURE))
    flaky.error = None
    (answer,) = asyncio.run(ask(predictor, PICTURE))
    assert isinstance(answer, Prediction)


def test_an_engine_that_fails_is_not_well(predictor: Predictor, flaky: Flaky) -> None:
    flaky.error = EngineError("it broke")
    assert not asyncio.run(predictor.works())
    flaky.error = None
    assert asyncio.run(predictor.works())
    flaky.error = EngineError("it broke")
    assert asyncio.run(predictor.works())  # it has answered a moment ago
    predictor.close()
    assert not asyncio.run(predictor.works())


class Unreadable(Classifier):
    """A classifier to which every picture is broken, which takes it long to find out."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.begun, self.go_on = 0, threading.Event()

    def read(self, picture: Picture, **options: object) -> ReadPicture:
        """Wait, and fail; the empty picture of the server itself is read."""
        if isinstance(picture, bytes):
            self.begun += 1
            assert self.go_on.wait(30)
            raise DataError("broken")
        return super().read(picture, **options)  # type: ignore[arg-type]


def test_unreadable_pictures_and_a_full_queue_do_not_make_it_unwell(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROBE_S", 5.0)
    classifier = Unreadable(tiny)
    predictor = Predictor(classifier, Limits(queue=1), unknown=False)

    async def crowded() -> list[list[Answer]]:
        asked: list[asyncio.Task[list[Answer]]] = []
        for begun in (1, 2, 2):  # each thread has one, and one waits
            asked.append(asyncio.create_task(ask(predictor, PICTURE)))
            while (classifier.begun, predictor.waiting) != (begun, len(asked) - begun):
                await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            predictor.require_room()
        assert await predictor.works()
        classifier.go_on.set()
        return await asyncio.gather(*asked)

    answers = [answer for (answer,) in asyncio.run(crowded())]
    assert [str(answer) for answer in answers] == ["broken"] * 3
    predictor.close()


class Slow:
    """An observer that holds the engine."""

    def __init__(self) -> None:
        self.held, self.go_on = threading.Event(), threading.Event()

    def add(self, _: bytes, __: Prediction) -> None:
        """Wait."""
        self.held.set()
        assert self.go_on.wait(30)


def test_an_engine_that_does_not_come_back_is_not_well_and_asked_once(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROBE_S", 0.1)
    monkeypatch.setattr(module, "_FRESH_S", 0.0)
    slow = Slow()
    predictor = Predictor(flaky, Limits(), unknown=False, observers=[slow])

    def asking() -> int:
        return sum(thread.name == "engine-check" for thread in threading.enumerate())

    async def stuck() -> None:
        asked = asyncio.create_task(ask(predictor, PICTURE))
        await asyncio.to_thread(slow.held.wait, 30)
        assert not await predictor.works()
        assert not await predictor.works()
        assert asking() == 1
        slow.go_on.set()
        await asked
        monkeypatch.setattr(module, "_PROBE_S", 30.0)
        assert await predictor.works()

    asyncio.run(stuck())
    predictor.close()


def test_pictures_that_nobody_waits_for_take_no_memory(flaky: Flaky) -> None:
    slow = Slow()
    predictor = Predictor(flaky, Limits(), unknown=False, observers=[slow])
    picture = bytes(bytearray(PICTURE))
    references = sys.getrefcount(picture)

    async def hang_up() -> None:
        asked = [asyncio.create_task(ask(predictor, PICTURE)) for _ in range(2)]
        await asyncio.to_thread(slow.held.wait, 30)
        while predictor.waiting:  # until both threads are at work
            await asyncio.sleep(0.01)
        gone = asyncio.create_task(ask(predictor, picture, picture))
        while not predictor.waiting:
            await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.wait({gone})
        del gone
        assert predictor.waiting == 1
        assert sys.getrefcount(picture) == references
        slow.go_on.set()
        await asyncio.gather(*asked)

    asyncio.run(hang_up())
    predictor.close()


def test_an_answer_that_takes_too_long_is_given_up(flaky: Flaky) -> None:
    slow = Slow()
    predictor = Predictor(flaky, Limits(answer_s=0.1), unknown=False, observers=[slow])
    with pytest.raises(OverloadedError, match=r"^There was no answer within 0\.1 s\.$"):
        asyncio.run(ask(predictor, PICTURE))
    slow.go_on.set()
    (answer,) = asyncio.run(ask(predictor, PICTURE))
    assert isinstance(answer, Prediction)
    predictor.close()


class Kept:
    """Keeps what it is given; fails on the second picture."""

    def __init__(self) -> None:
        self.added: list[tuple[bytes, Prediction]] = []

    def add(self, picture: bytes, prediction: Prediction) -> None:
        """Keep it."""
        self.added.append((picture, prediction))
        if len(self.added) == 2:
            raise OSError("the disk is full")


def test_observers_get_every_answer_and_do_no_harm(
    flaky: Flaky, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Kept(), Kept()
    predictor = Predictor(flaky, Limits(), unknown=False, observers=[first, second])
    files = [(pictures / kind / "04.png").read_bytes() for kind in KINDS]
    answers = asyncio.run(ask(predictor, files[0], b"broken", *files[1:]))
    predictor.close()
    given = [answer for answer in answers if isinstance(answer, Prediction)]
    assert first.added == second.added  # in whatever order they were answered
    assert dict(first.added) == dict(zip(files, given, strict=True))
    assert [record.message for record in caplog.records] == ["An observer failed."] * 2
    assert "the disk is full" in caplog.text


def post(app: ASGIApp, path: str) -> tuple[int, bytes]:
    """The status and the body of a picture's answer, without a server."""
    sent: list[Message] = []
    scope = {
        "type": "http", "method": "POST", "path": path, "root_path": "",
        "raw_path": b"", "query_string": b"top=1",
        "headers": [(b"content-type", b"image/png"), (b"host", b"any.name")],
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": PICTURE, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_the_application_can_be_mounted_in_another(tiny: Bundle) -> None:
    app = make_app(Classifier(tiny, threads=1))
    site = Starlette()
    site.mount("/classify", app)
    status, body = post(site, "/classify/v1/predict")
    app.state.predictor.close()
    assert status == 200
    assert b'"top":[{"label":' in body


def test_a_failing_engine_is_an_answer_and_a_line_in_the_log(
    flaky: Flaky, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(flaky)
    flaky.error = EngineError("it broke")
    assert post(app, "/v1/predict") == (500, b'{"error":"it broke","hint":""}')
    assert [record.message for record in caplog.records] == ["it broke"]
    flaky.error = None
    assert post(app, "/v1/predict")[0] == 200
    app.state.predictor.close()
