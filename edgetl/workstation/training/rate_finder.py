"""The learning-rate range test: how fast the network can learn from where the recipe starts it.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks": the rate rises from step to
step, and the loss first stays, then falls, then flies off. What is suggested is the middle of
the longest fall, the "valley" of fastai's finder (Howard & Gugger 2020, "fastai: A Layered API
for Deep Learning"). Behind a linear probe a hundred steps are often too few for a fall; the only
thing to see is then where the loss begins to rise, and a third of that rate is suggested: Smith
takes that place as the upper bound of the rates, and a third or a quarter of it as the lower.
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
# The rate of what learns fastest. Recipes allow none above 10.
_LOWEST, _HIGHEST = 1e-6, 10.0
_RATIO = (_HIGHEST / _LOWEST) ** (1 / (STEPS - 1))
_A_THIRD = round(math.log(3, _RATIO))  # so many steps back the rate was a third
# Ten steps' memory, a seventh of the ramp's seven decades each.
_KEPT = 0.9
_FLOWN_OFF = 4.0


class RateStep(Frozen, kw_only=True, frozen=True):
    """One line of `rates.jsonl`.

    Attributes:
        step: from 1.
        backbone_rate, head_rate: the rates the step was taken at, as the recipe means them.
        loss: of the step's batch, before it.
        smoothed: the losses' exponential mean up to here, corrected for its start.
    """

    step: int
    backbone_rate: float
    head_rate: float
    loss: float
    smoothed: float


class Suggestion(NamedTuple):
    """Which step's rate to train at (from 0), and by what: the longest fall, or the rise."""

    at: int
    rule: Literal["fall", "rise"]


class FoundRates(NamedTuple):
    """A range test's steps, what they suggest (None: they neither fell nor rose), the picture."""

    steps: list[RateStep]
    suggestion: Suggestion | None
    picture: Path

    @property
    def suggested(self) -> RateStep | None:
        """The step whose rates to train at."""
        return self.steps[self.suggestion.at] if self.suggestion else None


def find_rate(
    recipe: Recipe, parts: Parts, out: Path, progress: Progress, device: str = "auto"
) -> FoundRates:
    """Take the recipe's start through the range test; writes `rates.jsonl` and `rates.png`.

    The ratio between the rates of head, backbone and blocks stays the recipe's. No checkpoint
    is written, so `out` may become the folder of a run.

    Raises EdgetlError: unusable data or weights, a device that is not there, an unwritable folder,
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
    found = FoundRates(steps, suggestion, out / PICTURE_FILE)
    with atomic_write(out / RATES_FILE) as file:
        file.writelines(msgspec.json.encode(step) + b"\n" for step in steps)
    draw_rates(steps, found.suggested, found.picture)
    return found


def _without_schedule(recipe: Recipe) -> Recipe:
    """The same recipe, but for what would change the rates or thaw blocks on the way."""
    settings = msgspec.structs.replace(
        recipe.finetune, schedule="constant", warmup=0.0, unfreeze_every=0, ema=0.0
    )
    return msgspec.structs.replace(recipe, finetune=settings)


def _sweep(trainer: Trainer, recipe: Recipe, progress: Progress) -> list[RateStep]:
    """Steps at ever higher rates, until the smoothed loss has flown off or is no number."""
    settings = recipe.finetune
    factor = _LOWEST / max(settings.backbone_rate, settings.head_rate)
    trainer.scale_rates(factor)
    steps: list[RateStep] = []
    with progress.stage("range test", STEPS, "steps") as shown:
        for loss, smoothed in until_flown_off(_floats(itertools.islice(trainer.endless(), STEPS))):
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


def until_flown_off(losses: Iterable[float]) -> Iterable[tuple[float, float]]:
    """Each loss with the smoothed one, as long as that is at most 4 times its lowest.

    The smoothed loss is the exponential mean of decay 0.9, its start at 0 corrected for as in
    Adam (Kingma & Ba 2015). A loss that is no number ends it too.
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
    """The middle of the longest fall, or else a third of the rate where the loss begins to rise.

    A fall is a longest decreasing subsequence, so that single bumps do not end it. It counts
    where it is deeper than two standard deviations of a batch's loss: the smoothed loss of a flat
    curve wanders as far as that (6 of 100 made ones went further). The rise begins behind the
    last step that is less than one of them above the median of the sweep's first half.

    Args:
        losses: float [N], of the steps' own batches.
        smoothed: float [N], their running mean.

    Returns None where the loss neither falls nor, at the end, rises.
    """
    if len(smoothed) < 4:
        return None
    first, last = _longest_fall(smoothed)
    # Neighbours differ by chance alone, whatever the curve does over many steps; the median
    # leaves out a step that flies off. For normal values it is 0.954 standard deviations.
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
    """The first and last index of the longest decreasing subsequence; of equals, the deepest."""
    length, begins = [1] * len(values), list(range(len(values)))
    for i, value in enumerate(values):
        for j in range(i):
            if values[j] > value and length[j] + 1 > length[i]:
                length[i], begins[i] = length[j] + 1, begins[j]
    last = max(range(len(values)), key=lambda i: (length[i], values[begins[i]] - values[i]))
    return begins[last], last


def draw_rates(steps: Sequence[RateStep], suggested: RateStep | None, path: Path) -> None:
    """Loss over the backbone's rate, the suggestion marked, as a PNG."""
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
