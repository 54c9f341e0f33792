import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.recipe import Recipe  # noqa: E402
from edgetl.workstation.training import speed as clocks  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.speed import Clock, format_duration  # noqa: E402

CPU = Compute(Recipe(precision="fp32"), "cpu")


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(clocks, "time", watch)
    return watch


def test_what_is_about_to_be_done_is_announced() -> None:
    assert Clock(CPU, [224] * 3, 1609).announcement == (
        f"training on {CPU.described}: 3 epochs of 1,609 pictures at 224 px"
    )
    assert Clock(CPU, [128, 160, 224], 12).announcement.endswith("pictures at 128 to 224 px")


def test_the_first_steps_are_not_counted_and_the_next_ones_give_the_estimate(watch) -> None:
    clock = Clock(CPU, [32] * 10, 1000)
    said = []
    for seconds in (9.0, 5.0, 0.5, 0.5, 0.5, 0.5):
        watch.now += seconds
        said.append(clock.after_step(32))
    # 96 pictures in 1.5 s: 64 a second, and 10 epochs of 1,000.
    assert said == [None] * 4 + ["64 pictures/s: training takes about 3 min", None]
    assert clock.rate == pytest.approx(6 * 32 / 16)


def test_epochs_of_larger_pictures_take_longer(watch) -> None:
    clock = Clock(CPU, [16, 32], 100)  # as long as five epochs of the first
    for _ in range(5):
        watch.now += 1.0
        said = clock.after_step(10)
    assert said == "10 pictures/s: training takes about 50 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (1500.0, "25 min"), (5400.0, "1.5 h")],
)
def test_lengths_of_time_are_spoken_plainly(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
