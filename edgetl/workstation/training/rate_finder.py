"""The learning-rate range test: which rates suit the network that a recipe starts from.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks": the rate rises from step to
step, and the loss first stays level, then falls, then diverges. The suggested rate is the middle
of the longest fall, the "valley" of fastai's finder (Howard & Gugger 2020, "fastai: A Layered API
for Deep Learning"). After a linear probe, a hundred steps are often too few for a fall. Then only
the rate at which the loss begins to rise can be seen, and a third of it is suggested: Smith takes
that rate as the upper bound of the rates, and a third or a quarter of it as the lower.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, make_folder
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen
from edgetl.data.split import Parts
from edgetl.workstation.recipe import Recipe, with_epochs
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decisions import Decisions
from edgetl.workstation.training.initial_network import make_initial_network
from edgetl.workstation.training.preparation import prepare
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.trainer import Trainer
from edgetl.workstation.training.training_pixels import decode_training

RATES_FILE = "rates.jsonl"
PICTURE_FILE = "rates.png"
STEPS = 100
# Range of the higher of backbone_rate and head_rate. Recipes allow no rate above 10.
_LOWEST, _HIGHEST = 1e-6, 10.0
_RATIO = (_HIGHEST / _LOWEST) ** (1 / (STEPS - 1))
_A_THIRD = round(math.log(3, _RATIO))  # this many steps earlier the rate was a third
# Decay of the smoothed loss: a memory of ten steps, 0.7 of the ramp's seven decades.
_KEPT = 0.9
# The test ends when the smoothed loss exceeds its lowest value by this factor.
_FLOWN_OFF = 4.0


class RateStep(Frozen, kw_only=True, frozen=True):
    """One line of `rates.jsonl`.

    Attributes:
        step: from 1.
        backbone_rate, head_rate: the step's rates, as the recipe defines them.
        loss: of the step's batch, before the update.
        smoothed: the exponential moving average of the losses so far, bias-corrected.
    """

    step: int
    backbone_rate: float
    head_rate: float
    loss: float
    smoothed: float


class Suggestion(NamedTuple):
    """The index (from 0) of the step whose rates to train at, and the rule that chose it."""

    at: int
    rule: Literal["fall", "rise"]


class FoundRates(NamedTuple):
    """The result of a range test.

    Attributes:
        steps: the steps taken.
        suggestion: None if the loss neither fell nor rose.
        picture: the path of the plot.
    """

    steps: list[RateStep]
    suggestion: Suggestion | None
    picture: Path

    @property
    def suggested(self) -> RateStep | None:
        """The step whose rates to train at; None without a suggestion."""
        return self.steps[self.suggestion.at] if self.suggestion else None


def find_rate(
    recipe: Recipe, parts: Parts, out: Path, progress: Progress, device: str = "auto"
) -> FoundRates:
    """Run the range test on the recipe's initial network; writes `rates.jsonl` and `rates.png`.

    The ratios between the rates of head, backbone and blocks stay the recipe's. No checkpoint
    is written, so `out` may become the folder of a run.

    Raises EdgetlError: unusable data or weights, an unavailable device, an unwritable folder,
    or a recipe that takes no gradient step.
    """
    if not recipe.finetune.epochs:
        raise EdgetlError(
            "The recipe trains the linear probe alone, which has no learning rate.",
            hint="look for a rate with --epochs 1 or more.",
        )
    compute = Compute(recipe, device)
    recipe = with_epochs(recipe, len(parts.train), gpu=compute.gpu)
    start = make_initial_network(recipe, len(parts.labels), progress)
    make_folder(out)
    recipe = _without_schedule(recipe)
    spec = start.preprocess
    pixels, _, _ = decode_training(parts.train, spec, recipe.augmentation, progress)
    compute.place_for_training(start.network.model)
    setup = TrainingSetup(
        start.network, pixels, None, spec, recipe, compute, progress, Decisions(None, progress)
    )
    trainer = Trainer(setup, prepare(setup))
    steps = _sweep(trainer, recipe, progress)
    suggestion = suggest([step.loss for step in steps], [step.smoothed for step in steps])
    result = FoundRates(steps, suggestion, out / PICTURE_FILE)
    with atomic_write(out / RATES_FILE) as file:
        file.writelines(msgspec.json.encode(step) + b"\n" for step in steps)
    draw_rates(steps, result.suggested, result.picture)
    return result


def _without_schedule(recipe: Recipe) -> Recipe:
    """The recipe without what would change rates or unfreeze blocks during the test."""
    settings = msgspec.structs.replace(
        recipe.finetune, schedule="constant", warmup=0.0, unfreeze_every=0, ema=0.0
    )
    return msgspec.structs.replace(recipe, finetune=settings)


def _sweep(trainer: Trainer, recipe: Recipe, progress: Progress) -> list[RateStep]:
    """Take steps at rising rates, until the smoothed loss diverges or is not finite."""
    settings = recipe.finetune
    factor = _LOWEST / max(settings.backbone_rate, settings.head_rate)
    trainer.scale_rates(factor)
    steps: list[RateStep] = []
    with progress.stage("range test", STEPS, "steps") as shown:
        for loss, smoothed in until_divergence(_floats(itertools.islice(trainer.endless(), STEPS))):
            steps.append(
                RateStep(
                    step=len(steps) + 1,
                    backbone_rate=settings.backbone_rate * factor,
                    head_rate=settings.head_rate * factor,
                    loss=loss,
                    smoothed=smoothed,
                )
            )
            shown.advance(1, f"rate {steps[-1].backbone_rate:.1e}, loss {smoothed:.3f}")
            trainer.scale_rates(_RATIO)
            factor *= _RATIO
    if not steps:
        raise EdgetlError(
            f"The loss is no number even at a rate of {_LOWEST:g}.",
            hint="the weights or the pictures are broken: try --weights imagenet, --set "
            "precision=fp32.",
        )
    return steps


def _floats(losses: Iterable[Tensor]) -> Iterable[float]:
    return (float(loss) for loss in losses)


def until_divergence(losses: Iterable[float]) -> Iterable[tuple[float, float]]:
    """Yield each loss with the smoothed loss, until that exceeds 4 times its lowest value.

    The smoothed loss is the exponential moving average with decay 0.9, bias-corrected as in
    Adam (Kingma & Ba 2015). A loss that is not finite ends the iteration, too.
    """
    mean, best = 0.0, math.inf
    for count, loss in enumerate(losses, 1):
        mean = _KEPT * mean + (1 - _KEPT) * loss
        smoothed = mean / (1 - _KEPT**count)
        if not math.isfinite(smoothed) or smoothed > _FLOWN_OFF * best:
            return
        best = min(best, smoothed)
        yield loss, smoothed


def suggest(losses: Sequence[float], smoothed: Sequence[float]) -> Suggestion | None:
    """Suggest the middle of the longest fall, or else a third of the rate where the loss rises.

    A fall is a longest decreasing subsequence, so that single bumps do not end it. It counts
    if it is deeper than two standard deviations of a batch's loss: the smoothed loss of a flat
    curve wanders that far by chance (6 of 100 simulated ones went further). The rise begins after
    the last step at most one standard deviation above the median of the sweep's first half.

    Args:
        losses: float [N], the loss of each step's batch.
        smoothed: float [N], their exponential moving average.

    Returns None if the loss neither falls nor, at the end, rises, or N is below 4.
    """
    if len(smoothed) < 4:
        return None
    first, last = _longest_fall(smoothed)
    # Neighbouring losses differ by chance alone, whatever the trend over many steps; the median
    # ignores outliers. For normally distributed losses it is 0.954 standard deviations.
    before = losses[: max(last + 1, len(losses) // 2)]
    deviation = float(np.median(np.abs(np.diff(before)))) / 0.954
    if smoothed[first] - smoothed[last] > 2 * deviation:
        return Suggestion((first + last) // 2, "fall")
    level = float(np.median(smoothed[: len(smoothed) // 2])) + deviation
    edge = max(i for i, value in enumerate(smoothed) if value <= level)
    if edge == len(smoothed) - 1 or edge < _A_THIRD:
        return None
    return Suggestion(edge - _A_THIRD, "rise")


def _longest_fall(values: Sequence[float]) -> tuple[int, int]:
    """The first and last index of the longest decreasing subsequence; of ties, the deepest."""
    length, begins = [1] * len(values), list(range(len(values)))
    for i, value in enumerate(values):
        for j in range(i):
            if values[j] > value and length[j] + 1 > length[i]:
                length[i], begins[i] = length[j] + 1, begins[j]
    last = max(range(len(values)), key=lambda i: (length[i], values[begins[i]] - values[i]))
    return begins[last], last


def draw_rates(steps: Sequence[RateStep], suggested: RateStep | None, path: Path) -> None:
    """Plot the loss over the backbone's rate, with the suggestion marked, as a PNG."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rates = [step.backbone_rate for step in steps]
    axes.plot(rates, [step.loss for step in steps], alpha=0.3, label="each batch")
    axes.plot(rates, [step.smoothed for step in steps], color="tab:blue", label="smoothed")
    if suggested:
        rate = suggested.backbone_rate
        axes.axvline(rate, color="tab:red", linestyle="--", label=f"suggested: {rate:.1e}")
    top = max(step.smoothed for step in steps)
    axes.set(title="range test", xlabel="backbone rate", ylabel="training loss", xscale="log")
    axes.set_ylim(0, 1.1 * top)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
