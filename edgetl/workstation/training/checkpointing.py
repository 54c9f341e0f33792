"""Train to the end of a run: save the best or last epoch, record every epoch, stop early."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgetl.core.errors import EdgetlError
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.backbones.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_facts,
    save_facts,
    save_tensors,
)
from edgetl.workstation.run_folder import STATE_FILE
from edgetl.workstation.training.history import EpochMetrics, History, Listener
from edgetl.workstation.training.resume import Best, ResumeState
from edgetl.workstation.training.scoring import Evaluation
from edgetl.workstation.training.trainer import EpochEnd, Trainer

# On a GPU the state is saved this often: the most that an interruption loses.
_SAVE_EVERY_S = 10.0


class CheckpointedTraining:
    """Trains, and saves the last epoch; with a validation part, the best one or the probe.

    The best epoch has the lowest calibrated validation loss; of ties, the later one. Accuracy is
    not used: on a few dozen pictures it varies by chance, and the loss shows progress sooner.
    """

    def __init__(
        self,
        trainer: Trainer,
        facts: Checkpoint,
        out: Path | None,
        score_probe: Callable[[Network], float | None] = lambda network: None,
    ) -> None:
        """`out` is None in a process that writes nothing.

        `score_probe` returns the probe's test top-1, 0 to 1; None if there is no test part.
        Nothing is chosen by it: it serves to warn if training ends below the probe.
        """
        self._trainer, self._facts, self._out = trainer, facts, out
        self._recipe, self._progress = trainer.setup.recipe, trainer.setup.progress
        self._score_probe = score_probe
        self._best = Best()
        self._saved: float | None = None

    def run(self, listeners: Sequence[Listener], state: ResumeState | None = None) -> History:
        """Train to the end of the recipe, or until the validation loss stops improving.

        `state`: what the trainer resumes from; None: a new run. Returns the epochs' metrics.
        """
        done = self._resume(state) if state else self._start()
        history = History(self._out, listeners, keep_epochs=done)
        begun = time.monotonic()
        if self._is_over(done):  # interrupted after its last epoch
            return history
        for end in self._trainer.epochs(lambda: self._best):
            save = self._is_due(end)
            if save or end.val:
                self._offer(end.val, end.epoch)
            # Before the state: a resume drops lines of later epochs, but cannot add missing ones.
            history.add(_metrics(end, time.monotonic() - begun))
            if save and self._out:
                self._trainer.state(self._out / STATE_FILE, self._best).write()
                self._saved = time.monotonic()
            self._progress.say(self._remark(end))
            if self._is_over(end.epoch):
                break
        return history

    def _is_due(self, end: EpochEnd) -> bool:
        """Whether to save the state after this epoch.

        On a CPU, always. On a GPU, where writing takes as long as an epoch of a small data set,
        after the first, the last, and one every 10 seconds.
        """
        first_or_last = self._saved is None or end.epoch == self._trainer.total_epochs
        if first_or_last or not self._trainer.setup.compute.gpu:
            return True
        return time.monotonic() - (self._saved or 0.0) >= _SAVE_EVERY_S

    def _is_over(self, epoch: int) -> bool:
        """Whether `stop_after` epochs have passed without a lower validation loss."""
        patience = self._recipe.finetune.stop_after
        if not patience or self._trainer.setup.val is None or epoch - self._best.since < patience:
            return False
        self._progress.say(f"stopped: nothing better in {patience} epochs")
        return True

    def _start(self) -> int:
        scored = self._trainer.validate()
        if self._recipe.probe.enabled and scored:
            loss, top1 = scored.calibrated_loss, scored.top1
            self._progress.say(f"linear probe: val loss {loss:.3f}, top-1 {top1:.1%}")
        if self._recipe.probe.enabled:
            probe_top1 = self._score_probe(self._trainer.averaged)
            if probe_top1 is not None:
                self._progress.say(f"linear probe: test top-1 {probe_top1:.1%}")
            self._facts = msgspec.structs.replace(self._facts, probe_test_top1=probe_top1)
        self._offer(scored, 0)
        return 0

    def _resume(self, state: ResumeState) -> int:
        if self._out:
            try:
                probe_top1 = read_facts(self._out).probe_test_top1
                self._facts = msgspec.structs.replace(self._facts, probe_test_top1=probe_top1)
                load_checkpoint(self._out)
                self._best = state.best
            except EdgetlError:  # interrupted between the checkpoint's files: save the next epoch
                self._best = Best(since=self._trainer.epochs_done)
        self._best = Best(*self._trainer.setup.compute.ranks.from_first(self._best))
        return self._trainer.epochs_done

    def _offer(self, scored: Evaluation | None, epoch: int) -> None:
        """Save the network if it is the best so far."""
        loss, top1 = (scored.calibrated_loss, scored.top1) if scored else (math.inf, None)
        if math.isnan(loss):  # the logits overflowed: still a network to resume from
            loss = math.inf
        if loss <= self._best.loss:
            since = epoch if loss < self._best.loss else self._best.since
            self._best = Best(loss, top1, epoch, since)
            if self._out is None:
                return
            sha256 = save_tensors(self._out, self._trainer.averaged)
            save_facts(
                self._out, msgspec.structs.replace(self._facts, val_top1=top1, sha256=sha256)
            )

    def _remark(self, end: EpochEnd) -> str:
        remark = f"epoch {end.epoch}: train loss {end.loss:.3f}"
        if end.val:
            loss, top1 = end.val.calibrated_loss, end.val.top1
            remark += f", val loss {loss:.3f}, top-1 {top1:.1%}, best: {self._best_name()}"
        return remark

    def _best_name(self) -> str:
        if self._best.epoch:
            return f"epoch {self._best.epoch}"
        return "the probe" if self._recipe.probe.enabled else "the start"


def _metrics(end: EpochEnd, seconds: float) -> EpochMetrics:
    return EpochMetrics(
        epoch=end.epoch,
        train_loss=end.loss,
        val_loss=end.val.loss if end.val else None,
        val_top1=end.val.top1 if end.val else None,
        val_calibrated_loss=end.val.calibrated_loss if end.val else None,
        rate=end.rate,
        seconds=seconds,
    )
