import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.recipe import Recipe, override  # noqa: E402
from edgetl.workstation.run_folder import run_state  # noqa: E402
from edgetl.workstation.training.finetune import find_rate, finetune  # noqa: E402
from edgetl.workstation.training.pixel_cache import PixelSet  # noqa: E402
from edgetl.workstation.training.rate_finder import (  # noqa: E402
    STEPS,
    FoundRates,
    RateStep,
    Suggestion,
    draw_rates,
    suggest,
    until_divergence,
)
from tests.making import draw, inside  # noqa: E402
from tests.workstation.training.tiny import trainer as tiny_trainer  # noqa: E402

QUICK = (
    "weights=none",
    "image_size_px=32",
    "precision=fp32",
    "finetune.batch=6",
    "finetune.epochs=1",
    "probe.steps=20",
    "finetune.head_rate=2e-3",
    "finetune.backbone_rate=5e-4",
)
DECADES = np.linspace(-6, 1, STEPS)


def quick(*more: str) -> Recipe:
    return override(Recipe(), [*QUICK, *more])


def made_curve(fall: float, noise: float, seed: int) -> np.ndarray:
    """2 until about 1e-3, `fall` less until about 1e-1, then off; batches differ by `noise`."""
    low = fall / (1 + np.exp(-(DECADES + 3) / 0.3))
    off = np.exp(np.minimum((DECADES + 1) * 6, 6))
    return 2 - low + off + noise * np.random.default_rng(seed).standard_normal(STEPS)


def suggested(curve: np.ndarray) -> tuple[str, float]:
    """The rule, and the rate's decade."""
    losses, smoothed = zip(*until_divergence(curve.tolist()), strict=True)
    found = suggest(losses, smoothed)
    assert found is not None
    return found.rule, float(DECADES[found.at])


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> FoundRates:
    """A range test on them."""
    return find_rate(data, tmp_path_factory.mktemp("rates") / "run", quick())


def test_smoothing_starts_at_the_first_loss_and_follows_the_rest() -> None:
    smoothed = [s for _, s in until_divergence([1.0, 2.0, 0.5])]
    # Weights 0.9^2, 0.9 and 1, of those that are there, divided by their sum.
    assert smoothed == pytest.approx([1.0, (0.9 + 2) / 1.9, (0.81 + 1.8 + 0.5) / 2.71])


def test_the_sweep_ends_where_the_smoothed_loss_is_over_four_times_its_lowest() -> None:
    kept = list(until_divergence([1.0] * 20 + [9.0] * 20))
    # Each step adds a tenth of the way to 9: 1.8, 2.5, 3.2, 3.8, 4.3.
    assert [loss for loss, _ in kept] == [1.0] * 20 + [9.0] * 4
    assert max(smoothed for _, smoothed in kept) <= 4.0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_sweep(broken: float) -> None:
    assert len(list(until_divergence([1.0, 1.0, broken, 1.0]))) == 2
    assert list(until_divergence([broken, 1.0])) == []


def test_the_middle_of_the_longest_fall_is_suggested() -> None:
    rising, falling = [1.0, 1.2, 1.4, 1.6, 1.8], [2.0 - 0.1 * i for i in range(13)]
    curve = rising + falling + [0.9, 1.5, 3.0]
    assert suggest(curve, curve) == Suggestion((5 + 17) // 2, "fall")


def test_a_bump_does_not_end_a_fall() -> None:
    falling = [2.0 - 0.1 * i for i in range(15)]
    falling[6] = 1.95
    assert suggest(falling, falling) == Suggestion(7, "fall")


def test_the_longer_of_two_falls_is_taken() -> None:
    curve = [3.0, 2.0, 1.0, 4.0, 3.9, 3.8, 3.7, 3.6, 3.5, 3.4]
    assert suggest([0.0] * len(curve), curve) == Suggestion((3 + 9) // 2, "fall")


def test_without_a_fall_a_third_of_the_rate_where_the_loss_rises_is_suggested() -> None:
    curve = [1.0] * 50 + [1.5, 2.0, 3.0]
    found = suggest(curve, curve)
    assert found is not None
    assert found.rule == "rise"
    assert 10 ** (DECADES[found.at] - DECADES[49]) == pytest.approx(1 / 3, rel=0.1)


@pytest.mark.parametrize("curve", [[], [1.0, 0.5], [1.0] * 50])
def test_a_curve_that_neither_falls_nor_flies_off_suggests_nothing(curve: list[float]) -> None:
    assert suggest(curve, curve) is None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_the_suggestion_lies_where_a_noisy_loss_falls(noise: float, seed: int) -> None:
    rule, decade = suggested(made_curve(1.5, noise, seed))
    assert rule == "fall"
    assert -4.0 < decade < -1.5


def test_of_a_flat_noisy_loss_the_suggestion_lies_below_its_rise() -> None:
    found = [suggested(made_curve(0.0, 0.3, seed)) for seed in range(100)]
    rises = [decade for rule, decade in found if rule == "rise"]
    assert len(rises) > 85  # the others look like a fall
    # At a decade of -1 the loss is half as much again as at the start.
    assert min(rises) > -2.0
    assert max(rises) < -1.0


def test_the_range_test_raises_all_rates_together_and_exponentially(found: FoundRates) -> None:
    head = np.array([step.head_rate for step in found.steps])
    backbone = np.array([step.backbone_rate for step in found.steps])
    assert head / backbone == pytest.approx(np.full(len(head), 4.0))
    assert head == pytest.approx(10 ** DECADES[: len(head)])
    assert [step.step for step in found.steps] == list(range(1, len(head) + 1))


def test_the_range_test_stops_before_its_end_where_the_loss_flies_off(found: FoundRates) -> None:
    assert 40 < len(found.steps) < STEPS
    smoothed = [step.smoothed for step in found.steps]
    assert smoothed[-1] > 1.5 * min(smoothed)
    assert smoothed == [s for _, s in until_divergence([step.loss for step in found.steps])]


def test_the_range_test_leaves_its_figures_and_a_picture_and_nothing_else(
    found: FoundRates,
) -> None:
    assert inside(found.picture.parent) == ["rates.jsonl", "rates.png"]
    lines = (found.picture.parent / "rates.jsonl").read_text().splitlines()
    assert [RateStep(**json.loads(line)) for line in lines] == found.steps
    with Image.open(found.picture) as picture:
        assert picture.format == "PNG"


def test_the_same_seed_gives_the_same_range_test(
    data: Path, found: FoundRates, tmp_path: Path
) -> None:
    assert find_rate(data, tmp_path / "run", quick()).steps == found.steps


def test_a_run_may_be_made_where_a_rate_was_looked_for(data: Path, tmp_path: Path) -> None:
    find_rate(data, tmp_path / "run", quick("finetune.schedule=step", "finetune.unfreeze_every=1",
                                            "finetune.trainable_blocks=1"))  # fmt: skip
    assert run_state(tmp_path / "run") == "new"
    finetune(data, tmp_path / "run", quick())
    assert run_state(tmp_path / "run") == "finished"


def test_a_recipe_without_gradient_steps_has_no_rate_to_find(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        find_rate(data, tmp_path / "run", quick("finetune.epochs=0"))
    assert str(caught.value) == (
        "The recipe trains the linear probe alone, which has no learning rate."
    )
    assert inside(tmp_path) == []


def test_scaled_rates_keep_their_ratios() -> None:
    pixels = np.stack([np.asarray(draw("checks", i, 32, 32)) for i in range(4)])
    pictures = PixelSet(pixels, np.arange(4) % 2)
    recipe = quick("finetune.layer_decay=0.5", "finetune.schedule=constant", "finetune.warmup=0")
    network = build_network(find_backbone("mobilenet_v2"), 2)
    trainer = tiny_trainer(recipe, network, train=pictures)
    groups = trainer._optimizer.param_groups
    before = np.array([group["lr"] for group in groups])
    assert len(set(before)) > 10
    trainer.scale_rates(0.25)
    assert np.array([group["lr"] for group in groups]) == pytest.approx(before / 4)
    next(trainer.endless())
    assert np.array([group["lr"] for group in groups]) == pytest.approx(before / 4)


def test_the_picture_marks_the_suggestion(tmp_path: Path) -> None:
    steps = [
        RateStep(step=i, backbone_rate=10.0**-i, head_rate=10.0**-i, loss=1.0, smoothed=1.0)
        for i in range(1, 5)
    ]
    draw_rates(steps, steps[1], tmp_path / "marked.png")
    draw_rates(steps, None, tmp_path / "plain.png")
    marked, plain = (
        np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        for name in ("marked.png", "plain.png")
    )

    def red(picture: np.ndarray) -> int:
        return int(((picture[..., 0] - picture[..., 1:].max(-1)) > 100).sum())

    assert red(plain) == 0
    assert red(marked) > 100
