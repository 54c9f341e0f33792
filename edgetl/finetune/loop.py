"""Gradient steps: one-cycle over all of them, the best epoch kept, every epoch resumable."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgetl.backbones.build import (
    Network,
    class_logits,
    freeze_all_but_last,
    training_logits,
)
from edgetl.core.errors import EdgetlError, first_line
from edgetl.core.files import replacing
from edgetl.core.preprocess import Preprocess
from edgetl.core.progress import Progress
from edgetl.core.recipe import FineTune, Recipe
from edgetl.core.schema import Frozen
from edgetl.finetune.augment import BatchAugment, plain_batch
from edgetl.finetune.compute import Compute
from edgetl.finetune.depthwise import speed_up_depthwise
from edgetl.finetune.pixels import PixelSet
from edgetl.finetune.probe import adapt_norms, fit_probe

STATE_FILE = "resume.pt"
_CLIP_NORM = 5.0


class EpochMetrics(Frozen, kw_only=True, frozen=True):
    """One line of `metrics.jsonl`."""

    epoch: int
    train_loss: float
    val_loss: float
    val_top1: float
    rate: float
    seconds: float


class Evaluation(NamedTuple):
    """Mean loss and predictions (int64 [N]) of a set of pictures."""

    loss: float
    predicted: "np.ndarray[Any, np.dtype[np.int64]]"
    top1: float


def class_weights(labels: "np.ndarray[Any, np.dtype[np.int64]]", classes: int, mode: str) -> Tensor:
    """float32 [classes], mean 1 over the pictures.

    "auto": the inverse square root of each class's share where the largest class has over 1.5
    times the smallest; full inverse weights overfit the rarest class.
    """
    counts = np.bincount(labels, minlength=classes).clip(min=1)
    if mode == "none" or counts.max() <= 1.5 * counts.min():
        return torch.ones(classes)
    weights = 1 / np.sqrt(counts)
    weights *= counts.sum() / (weights * counts).sum()
    return torch.tensor(weights, dtype=torch.float32)


def evaluate_network(
    model: nn.Module, pictures: PixelSet, spec: Preprocess, compute: Compute, *, exact: bool
) -> Evaluation:
    """Predict every picture. `exact` forces float32, for figures that are reported."""
    model.eval()
    logits = []
    with torch.inference_mode():
        for batch in torch.from_numpy(pictures.pixels).split(compute.eval_batch):
            with compute.autocast(exact=exact):
                answer = class_logits(model(plain_batch(batch.to(compute.device), spec)))
            logits.append(answer.float().cpu())
    all_logits = torch.cat(logits)
    predicted = all_logits.argmax(1).numpy()
    loss = float(F.cross_entropy(all_logits, torch.from_numpy(pictures.labels)))
    return Evaluation(loss, predicted, float((predicted == pictures.labels).mean()))


class Trainer:
    """Fine-tunes a network; `epochs()` yields after each epoch.

    Everything random in an epoch is seeded by (seed, epoch), so a resumed run takes the same
    steps as an uninterrupted one.
    """

    def __init__(
        self,
        network: Network,
        train: PixelSet,
        val: PixelSet,
        spec: Preprocess,
        recipe: Recipe,
        compute: Compute,
    ) -> None:
        self.network, self.train, self.val, self.spec = network, train, val, spec
        self.recipe, self.compute = recipe, compute
        settings = recipe.finetune
        if compute.device.type == "cpu":
            speed_up_depthwise(network.model)
        self._frozen = freeze_all_but_last(network, settings.trainable_blocks)
        self._weights = class_weights(train.labels, network.classes(), settings.imbalance).to(
            compute.device
        )
        self._steps = max(1, math.ceil(len(train) / settings.batch))
        self._optimizer, self._schedule = _optimizer(network, settings, self._steps)
        self._next_epoch = 0

    def start_head(self, progress: Progress) -> Evaluation:
        """Before the first step: adapt the norms, fit the probe. Returns the validation score."""
        if self.recipe.finetune.epochs:  # a backbone that stays as it is keeps its own norms
            self.train_mode()
            adapt_norms(self.network, self.train, self.spec, self.compute, seed=self.recipe.seed)
        if self.recipe.probe.enabled:
            fit_probe(
                self.network,
                self.train,
                self.spec,
                self.recipe.probe,
                self._weights,
                self.compute,
                progress,
            )
        return self.validate()

    def validate(self) -> Evaluation:
        """Score the validation part as fast as can be: to choose by, not to report."""
        return evaluate_network(self.network.model, self.val, self.spec, self.compute, exact=False)

    def epochs(self, progress: Progress) -> Iterator[tuple[int, float, float]]:
        """Train; yields (epoch from 1, mean training loss, learning rate) after each epoch."""
        while self._next_epoch < self.recipe.finetune.epochs:
            loss = self._train_one(self._next_epoch, progress)
            self._next_epoch += 1
            yield self._next_epoch, loss, float(self._schedule.get_last_lr()[0])

    def _train_one(self, epoch: int, progress: Progress) -> float:
        torch.manual_seed(self.recipe.seed * 100_003 + epoch)
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        augment = BatchAugment(self.recipe.augment, self.spec, generator)
        order = torch.randperm(len(self.train), generator=generator).numpy()
        self.train_mode()
        total = 0.0
        name = f"epoch {epoch + 1}/{self.recipe.finetune.epochs}"
        with progress.stage(name, len(order), "pictures") as shown:
            for step, chosen in enumerate(np.array_split(order, self._steps)):
                chosen.sort()  # in file order: kinder to pixels that are paged in from disk
                loss = self._step(augment, chosen)
                if not math.isfinite(loss):
                    raise _diverged(epoch + 1, step + 1)
                total += loss * len(chosen)
                shown.advance(len(chosen), f"loss {loss:.3f}")
        return total / len(order)

    def train_mode(self) -> None:
        """The network as the next step sees it: frozen norms stay as they are."""
        self.network.model.train()
        for norm in self._frozen:
            norm.eval()

    def _step(self, augment: BatchAugment, chosen: "np.ndarray[Any, np.dtype[np.int64]]") -> float:
        device, settings = self.compute.device, self.recipe.finetune
        batch = augment(torch.from_numpy(self.train.pixels[chosen]).to(device))
        labels = torch.from_numpy(self.train.labels[chosen]).to(device)
        with self.compute.autocast():
            answers = training_logits(self.network, batch)
        loss = torch.zeros((), device=device)
        for share, logits in answers:
            loss = loss + share * F.cross_entropy(
                logits.float(), labels, self._weights, label_smoothing=settings.label_smoothing
            )
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.model.parameters(), _CLIP_NORM)
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())

    def save_state(self, path: Path, best_top1: float) -> None:
        """Everything the next epoch needs, written whole or not at all."""
        state = {
            "model": self.network.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epoch": self._next_epoch,
            "best_top1": best_top1,
        }
        with replacing(path) as file:
            torch.save(state, file)

    def load_state(self, path: Path) -> float:
        """Continue from `save_state`; returns its `best_top1`. Raises EdgetlError if unusable."""
        try:
            state = torch.load(path, map_location=self.compute.device, weights_only=True)
            self.network.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self._next_epoch = int(state["epoch"])
            return float(state["best_top1"])
        except Exception as error:  # torch raises many kinds for a damaged or foreign file
            raise EdgetlError(
                f"'{path}' cannot be resumed: {first_line(error)}",
                hint="start a new run in another folder, without --resume.",
            ) from error


def _optimizer(
    network: Network, settings: FineTune, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """Two rates; weight decay on matrices and filters only, never on norms and biases."""
    head = {id(p) for p in network.head_parameters()}
    groups: list[dict[str, Any]] = []
    for in_head, rate in ((True, settings.head_rate), (False, settings.backbone_rate)):
        for decayed in (True, False):
            chosen = [
                p
                for p in network.model.parameters()
                if p.requires_grad and (id(p) in head) == in_head and (p.ndim > 1) == decayed
            ]
            decay = settings.weight_decay if decayed else 0.0
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    groups = [group for group in groups if group["params"]]
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.AdamW(groups)
    total = max(1, settings.epochs * steps) + 1
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in groups],
        total_steps=total,
        # A warm-up of exactly one step makes OneCycleLR divide by zero.
        pct_start=max(settings.warmup, 1.5 / total),
        cycle_momentum=False,
    )
    return optimizer, schedule


def _diverged(epoch: int, step: int) -> EdgetlError:
    return EdgetlError(
        f"The loss stopped being a number in epoch {epoch}, step {step}.",
        hint="lower the rates: --set finetune.backbone_rate=1e-4 --set finetune.head_rate=5e-4. "
        "The best checkpoint so far is kept.",
    )
