"""Warnings that a finished run went wrong, in plain words, and what to try."""

from collections.abc import Sequence

from edgetl.bundle.reports import AccuracyReport
from edgetl.workstation.training.history import EpochMetrics

# A validation loss that ends at this many times its lowest value counts as risen.
_RISEN = 1.1


def below_its_probe(test: AccuracyReport | None, probe_top1: float | None) -> str | None:
    """A warning if the trained network's test top-1 is below that of the probe it started from.

    `probe_top1` is the probe's test top-1, 0 to 1. Returns None if there is nothing to warn of.
    """
    if test is None or probe_top1 is None or test.top1 >= probe_top1:
        return None
    fewer = round((probe_top1 - test.top1) * test.images)
    return (
        f"training did not help: {test.top1:.2%} of the test pictures are right, and "
        f"{probe_top1:.2%} were with the linear probe alone ({fewer} of {test.images} pictures, "
        "which may be chance). Try --epochs 0 for the probe, a tenth of the backbone's rate "
        "(--set finetune.backbone_rate=3e-5), or more pictures."
    )


def above_its_teacher(test: AccuracyReport | None, teacher_top1: float | None) -> str | None:
    """A warning if the network is right more often on the test pictures than its teacher.

    `teacher_top1` is the teacher's test top-1, 0 to 1. Returns None if there is nothing to warn of.
    """
    if test is None or teacher_top1 is None or test.top1 <= teacher_top1:
        return None
    return (
        f"the teacher knows less than its student: {teacher_top1:.2%} and {test.top1:.2%} of the "
        "test pictures are right. Such a teacher may do harm: compare with a run without "
        "--teacher, or train a better one."
    )


def overfitted(lines: Sequence[EpochMetrics]) -> str | None:
    """A warning if the validation loss rose again while the training loss kept falling."""
    losses = [line.val_calibrated_loss for line in lines]
    known = [loss for loss in losses if loss is not None]
    if len(known) < 3 or len(known) < len(losses):
        return None
    best = min(range(len(known)), key=known.__getitem__)
    first, last = lines[best], lines[-1]
    if known[-1] < _RISEN * known[best] or last.train_loss >= first.train_loss:
        return None
    return (
        f"the validation loss rose from {known[best]:.3f} in epoch {first.epoch} to "
        f"{known[-1]:.3f}, while the training loss fell from {first.train_loss:.3f} to "
        f"{last.train_loss:.3f}: the network learns its training pictures by heart. Try fewer "
        f"epochs (--epochs {max(1, first.epoch)}), stronger augmentation (--set augment=strong) or "
        "more pictures."
    )
