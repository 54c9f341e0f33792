"""Gradient steps: every epoch scored and resumable."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.backbones.build import Network, freeze_all_but_last
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.files import replacing
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress, Stage
from edgetl.core.recipe import Recipe
from edgetl.finetune.adapted_norms import settle_norms
from edgetl.finetune.augment import make_mix
from edgetl.finetune.compute import Compute
from edgetl.finetune.depthwise import speed_up_depthwise
from edgetl.finetune.feed import Feed, make_feed
from edgetl.finetune.frozen_norms import fold_frozen_norms
from edgetl.finetune.gradients import Gradients
from edgetl.finetune.head_start import start_off
from edgetl.finetune.objective import Objective, epoch_order
from edgetl.finetune.optimizer import Anchor, Schedule, averaged, make_optimizer
from edgetl.finetune.orientation import Flip
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.scoring import Evaluation, evaluate_batches

STATE_FILE = "resume.pt"
# On a GPU each look at a loss waits for everything queued before it.
_LOOK_EVERY = {"cpu": 1, "cuda": 16}


class EpochEnd(NamedTuple):
    """An epoch (from 1), its mean training loss, the rate it ended at, and its validation."""

    epoch: int
    loss: float
    rate: float
    val: Evaluation | None


class Best(NamedTuple):
    """The best on the validation part so far.

    Attributes:
        loss: the calibrated loss it is the best by; infinite: there is none.
        top1: the fraction right; None: there is none.
        epoch: the last with this loss (0: the probe).
        since: the first with this loss: none has been better since.
    """

    loss: float = math.inf
    top1: float | None = None
    epoch: int = 0
    since: int = 0


class Trainer:
    """Fine-tunes a network; `epochs()` yields after each epoch.

    Everything random in an epoch is seeded by (seed, epoch), so a resumed run takes the same
    steps as an uninterrupted one.
    """

    def __init__(
        self,
        network: Network,
        train: PixelSet,
        val: PixelSet | None,
        spec: Preprocess,
        recipe: Recipe,
        compute: Compute,
        progress: Progress,
    ) -> None:
        self.network, self.train, self.val, self.spec = network, train, val, spec
        self.recipe, self.compute = recipe, compute
        self._settings = settings = recipe.finetune
        self._progress = progress
        if compute.device.type == "cpu":
            speed_up_depthwise(network.model)
        self._classes = network.classes()
        self._frozen_norms = freeze_all_but_last(network, settings.trainable_blocks)
        objective = Objective(train.labels, self._classes, settings, compute.device)
        self._mix = make_mix(recipe.augmentation, self._classes)
        # A batch norm cannot learn from a batch of one.
        self._steps = max(1, min(math.ceil(len(train) / settings.batch), len(train) // 2))
        largest = math.ceil(len(train) / self._steps)
        self._gradients = Gradients(objective, compute, largest, progress)
        self._optimizer = make_optimizer(network, settings)
        self._schedule = Schedule(self._optimizer, settings, self._steps)
        self._anchor = Anchor(network, settings.l2sp)
        self._average = averaged(network.model, settings.ema) if settings.ema else None
        self._next_epoch = 0
        self._feed: Feed | None = None
        self._learner = self._scored = network

    @property
    def kept(self) -> Network:
        """The network that is scored and kept: the averaged one where the recipe averages."""
        if self._average is None:
            return self.network
        return Network(self._average.module, self.network.backbone)

    @property
    def epochs_done(self) -> int:
        """How many epochs are behind the network."""
        return self._next_epoch

    def start_head(self) -> Evaluation | None:
        """Before the first step: adapt the norms, fit the probe. Returns the validation score."""
        if self.recipe.probe.enabled:
            self._train_mode(self.network.model)
            flip = start_off(
                self.network, self.train, self.spec, self.recipe, self._gradients.objective,
                self.compute, self._progress,
            )  # fmt: skip
            if flip:
                self._show_flipped(flip)
        if self._average:
            self._average.module.load_state_dict(self.network.model.state_dict())
        return self.validate()

    def _show_flipped(self, flip: Flip) -> None:
        augment = msgspec.structs.replace(self.recipe.augmentation, flip=flip)
        self.recipe = msgspec.structs.replace(self.recipe, augment=augment)

    def validate(self) -> Evaluation | None:
        """Score the validation part as fast as can be: to choose by, not to report."""
        if self.val is None:
            return None
        feed = self._ready_feed()
        return evaluate_batches(
            self._scored.model, feed.held_out, self.val.labels, self.compute, exact=False
        )

    def epochs(self, best: Callable[[], Best]) -> Iterator[EpochEnd]:
        """Train; yields after each epoch. `best` is asked for the score to show."""
        feed = self._ready_feed()
        left = self._settings.total_epochs - self._next_epoch
        if left <= 0:
            return
        with self._progress.stage("training", left * len(self.train), "pictures") as shown:
            while self._next_epoch < self._settings.total_epochs:
                loss = self._train_one(feed, self._next_epoch, shown, best())
                self._next_epoch += 1
                settle_norms(self.kept, self.train, self.spec, self.recipe, self.compute)
                scored = self.validate()
                self._schedule.after_epoch(scored.loss if scored else loss)
                yield EpochEnd(self._next_epoch, loss, self._schedule.rate, scored)

    def _ready_feed(self) -> Feed:
        """Made when it is first needed: a frozen front runs over every picture once."""
        if self._feed is None:
            if self._settings.norms == "frozen":
                fold_frozen_norms(self.network.model)
            self._feed = make_feed(
                self.network, self.train, self.val, self.spec, self.recipe, self.compute,
                self._progress,
            )  # fmt: skip
            self._learner = self._feed.learner(self.network)
            self._scored = self._feed.learner(self.kept)
        return self._feed

    def _train_one(self, feed: Feed, epoch: int, shown: Stage, best: Best) -> float:
        losses: list[Tensor] = []
        look_every = _LOOK_EVERY[self.compute.device.type]
        for chosen in self._begin(feed, epoch):
            losses.append(self.step(feed, chosen) * len(chosen))
            note = ""
            if len(losses) % look_every == 0 or len(losses) == self._steps:
                mean = float(losses[-1]) / len(chosen)
                if not math.isfinite(mean):
                    raise _diverged(epoch + 1, _first_bad(losses))
                note = _note(
                    epoch + 1, self._settings.total_epochs, mean, self._schedule.rate, best
                )
            shown.advance(len(chosen), note)
        return float(torch.stack(losses).sum()) / len(self.train)

    def _begin(self, feed: Feed, epoch: int) -> list[NDArray[np.int64]]:
        """Make ready for an epoch; returns the pictures of each of its steps."""
        torch.manual_seed(self.recipe.seed * 100_003 + epoch)
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        self._thaw(epoch)
        feed.begin(epoch)
        order = epoch_order(self.train.labels, self._settings.imbalance, generator)
        self._train_mode(self._learner.model)
        # In file order: kinder to pixels that are paged in from disk.
        return [np.sort(chosen) for chosen in np.array_split(order, self._steps)]

    def endless(self) -> Iterator[Tensor]:
        """Step after step, as in training, with nothing scored or kept; yields each loss."""
        feed = self._ready_feed()
        for epoch in itertools.count():
            for chosen in self._begin(feed, epoch):
                yield self.step(feed, chosen)

    def scale_rates(self, factor: float) -> None:
        """Multiply the rate of every group of parameters; a schedule may set it again."""
        for group in self._optimizer.param_groups:
            group["lr"] *= factor

    def step(self, feed: Feed, chosen: NDArray[np.int64]) -> Tensor:
        """One step on these pictures; returns the loss, still on the device."""
        labels = torch.from_numpy(self.train.labels[chosen]).to(self.compute.device)
        batch = feed.batch(chosen)
        if self._mix and len(chosen) > 1:
            batch, targets = self._mix(batch, labels)
        else:
            targets = F.one_hot(labels, self._classes).float()
        loss = self._gradients.compute(self._learner, batch, targets)
        self._anchor.add_gradient()
        if self._settings.clip_norm:
            nn.utils.clip_grad_norm_(self.network.model.parameters(), self._settings.clip_norm)
        self._optimizer.step()
        self._schedule.after_step()
        if self._average:
            self._average.update_parameters(self.network.model)
        return loss

    def _thaw(self, epoch: int) -> None:
        settings = self._settings
        if settings.unfreeze_every and settings.trainable_blocks is not None:
            blocks = settings.trainable_blocks + epoch // settings.unfreeze_every
            if blocks > len(self.network.blocks()):  # last of all, what stands before them
                self.network.model.requires_grad_(True)
                self._frozen_norms = []
            else:
                self._frozen_norms = freeze_all_but_last(self.network, blocks)

    def _train_mode(self, model: nn.Module) -> None:
        """As a step sees the network: frozen norms stay as they are."""
        model.train()
        frozen = self._frozen_norms
        if self._settings.norms == "frozen" and self._feed:  # once they are adapted
            frozen = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        for norm in frozen:
            norm.eval()

    def save_state(self, path: Path, best: Best) -> None:
        """Everything the next epoch needs, written whole or not at all."""
        state = {
            "model": self.network.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "epoch": self._next_epoch,
            "flip": self.recipe.augmentation.flip,
            "best": tuple(best),
        }
        with replacing(path) as file:
            torch.save(state, file)

    def load_state(self, path: Path) -> Best:
        """Continue from `save_state`; returns its `best`. Raises EdgetlError if unusable."""
        try:
            state = torch.load(path, map_location=self.compute.device, weights_only=True)
            self.network.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            if self._average:
                self._average.load_state_dict(state["average"])
            self._next_epoch = int(state["epoch"])
            self._show_flipped(state["flip"])
            loss, top1, epoch, since = state["best"]
            top1 = None if top1 is None else float(top1)
            return Best(float(loss), top1, int(epoch), int(since))
        except Exception as error:  # torch raises many kinds for a damaged or foreign file
            raise EdgetlError(
                f"'{path}' cannot be resumed: {first_line(error)}",
                hint="start a new run in another folder, without --resume.",
            ) from error


def _note(epoch: int, epochs: int, loss: float, rate: float, best: Best) -> str:
    shown = f"epoch {epoch}/{epochs}, loss {loss:.3f}, rate {rate:.1e}"
    return shown if best.top1 is None else f"{shown}, best {best.top1:.1%}"


def _first_bad(losses: list[Tensor]) -> int:
    """Which step's loss, from 1, was the first that is no number."""
    return 1 + int(torch.stack(losses).isfinite().logical_not().nonzero()[0])


def _diverged(epoch: int, step: int) -> EdgetlError:
    return EdgetlError(
        f"The loss stopped being a number in epoch {epoch}, step {step}.",
        hint="lower the rates: --set finetune.backbone_rate=1e-4 --set finetune.head_rate=5e-4. "
        "The best checkpoint so far is kept.",
    )
