import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count, islice, pairwise
from types import SimpleNamespace

import pytest

from edgetl.capture import feeds, reopen
from edgetl.capture.feeds import CaptureError, LiveSource, Pace, Rhythm
from edgetl.capture.latest import LatestFrames
from edgetl.capture.reopen import pauses_s, reopened
from edgetl.runtime.preprocess import Picture

Opening = Callable[[], Iterator[bytes]]


class Scripted(LiveSource):
    """A source that gives what is written down for each time it is opened.

    Attributes:
        released: how often it was released.
    """

    def __init__(self, name: str, *openings: Opening, period_s: float = 0.0) -> None:
        self.name, self.period_s = name, period_s
        self._openings = iter(openings)
        self.released = 0

    def frames(self) -> Generator[Picture, None, None]:
        try:
            yield from next(self._openings)()
        finally:
            self.released += 1


def numbers(interval_s: float) -> Opening:
    def frames() -> Iterator[bytes]:
        for number in count():
            yield b"%d" % number
            time.sleep(interval_s)

    return frames


def these(*frames: bytes) -> Opening:
    return lambda: iter(frames)


def refuses(reason: str) -> Opening:
    def frames() -> Iterator[bytes]:
        raise CaptureError(reason)
        yield b""

    return frames


def opened(*sources: LiveSource, pace: Pace | None = None, said: list[str] | None = None):
    say = (said if said is not None else []).append
    return closing(iter(LatestFrames(sources, pace or Pace(), say)))


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted() -> None:
    feed = LatestFrames([Scripted("fast", numbers(0.002))], Pace(), print)
    taken: list[int] = []
    with closing(iter(feed)) as frames:
        for frame in islice(frames, 5):
            assert isinstance(frame.picture, bytes)
            taken.append(int(frame.picture))
            time.sleep(0.05)
    assert taken == sorted(set(taken))
    assert taken[-1] > 20
    # What was neither taken nor is still waiting at the end was dropped.
    assert feed.dropped is not None
    assert feed.dropped + 5 >= taken[-1]


def test_a_frame_has_the_name_of_its_source_and_the_time_it_arrived() -> None:
    before = time.time()
    with opened(Scripted("porch", numbers(0.01))) as frames:
        frame = next(frames)
    assert (frame.name, frame.picture) == ("porch", b"0")
    assert frame.time is not None
    assert before <= frame.time.timestamp() <= time.time()
    assert str(frame.time).endswith("+00:00")


def test_sources_take_turns() -> None:
    with opened(Scripted("a", numbers(0.001)), Scripted("b", numbers(0.001))) as frames:
        names = []
        for frame in islice(frames, 8):
            names.append(frame.name)
            time.sleep(0.05)
    assert names[2:] in (["a", "b"] * 3, ["b", "a"] * 3)


def test_with_a_pace_frames_in_between_are_passed_over_and_not_counted_as_dropped() -> None:
    feed = LatestFrames([Scripted("fast", numbers(0.002))], Pace(every_s=0.1), print)
    with closing(iter(feed)) as frames:
        start = time.monotonic()
        taken = [int(frame.picture) for frame in islice(frames, 4)]
        spent_s = time.monotonic() - start
    assert 0.3 <= spent_s < 5
    assert min(late - early for early, late in pairwise(taken)) > 10
    assert feed.dropped is not None
    assert feed.dropped < taken[-1] / 2


def test_a_source_with_a_period_of_its_own_is_read_so_often() -> None:
    with opened(Scripted("polled", numbers(0), period_s=0.1)) as frames:
        start = time.monotonic()
        assert [frame.picture for frame in islice(frames, 4)] == [b"0", b"1", b"2", b"3"]
        assert 0.3 <= time.monotonic() - start < 5


def test_closing_it_releases_the_sources() -> None:
    sources = [Scripted("a", numbers(0.01)), Scripted("b", numbers(0.01))]
    with opened(*sources) as frames:
        next(frames)
    assert [source.released for source in sources] == [1, 1]


def test_a_source_that_cannot_be_opened_at_first_is_an_error_even_beside_another() -> None:
    broken = Scripted("b", refuses("'b' is unplugged."))
    with (
        opened(Scripted("a", numbers(0.01)), broken) as frames,
        pytest.raises(CaptureError, match=r"^'b' is unplugged\.$"),
    ):
        for _ in frames:
            pass


def test_a_source_that_opens_and_gives_nothing_at_first_is_an_error() -> None:
    with opened(Scripted("a", these())) as frames, pytest.raises(CaptureError, match="no picture"):
        next(frames)


def test_what_is_not_an_error_of_the_source_is_not_hidden_in_its_thread() -> None:
    def fault() -> Iterator[bytes]:
        raise ZeroDivisionError
        yield b""

    with opened(Scripted("a", fault)) as frames, pytest.raises(ZeroDivisionError):
        next(frames)


def test_a_source_that_is_lost_is_opened_again_and_both_are_said_once() -> None:
    said: list[str] = []
    with opened(Scripted("a", these(b"old"), numbers(0.01)), said=said) as frames:
        assert next(frames).picture == b"old"
        assert next(frames).picture == b"0"
    assert said == ["'a' ended. Trying to open it again.", "'a' is back."]


def test_pauses_grow_until_a_source_is_steady_and_start_anew_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    waited: list[float] = []
    now = 100.0
    monkeypatch.setattr(reopen, "time", SimpleNamespace(monotonic=lambda: now))

    def steady() -> Iterator[bytes]:
        nonlocal now
        yield b"2"
        now += 10
        yield b"3"

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) == 9

    absent = [refuses("'a' is unplugged.")] * 4
    source = Scripted("a", these(b"1"), *absent, these(b"back"), these(b"again"), steady,
                      refuses("'a' is broken."))  # fmt: skip
    frames = list(reopened(source, said.append, wait))
    assert frames == [b"1", b"back", b"again", b"2", b"3"]
    assert waited == [1, 2, 4, 8, 16, 30, 30, 1, 2]
    assert list(islice(pauses_s(), 8)) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert said == [
        *["'a' ended. Trying to open it again.", "'a' is back."] * 3,
        "'a' ended. Trying to open it again.",
    ]


def test_a_rhythm_keeps_its_beat_and_does_not_catch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(feeds, "time", SimpleNamespace(monotonic=lambda: now))
    rhythm = Rhythm(10)
    assert rhythm.wait_s() == 0
    rhythm.advance()
    assert rhythm.wait_s() == 10
    now = 113  # late by 3: the next moment is not later for that
    assert rhythm.wait_s() == 0
    rhythm.advance()
    assert rhythm.wait_s() == 7
    now = 145  # late by more than a period: what was missed is not made up for
    rhythm.advance()
    assert rhythm.wait_s() == 10


@pytest.mark.parametrize(
    ("pace", "period_s"),
    [
        (Pace(), 0),
        (Pace(every_s=2), 2),
        (Pace(max_fps=4), 0.25),
        (Pace(every_s=2, max_fps=4), 2),
        (Pace(every_s=0.1, max_fps=4), 0.25),
    ],
)
def test_the_slower_of_two_limits_holds(pace: Pace, period_s: float) -> None:
    assert pace.period_s == period_s
