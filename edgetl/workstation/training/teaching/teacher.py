"""The teacher: found, checked against the run's labels and pictures, and asked in each step."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import TeacherFacts
from edgetl.core.errors import EdgetlError
from edgetl.core.files import sha256_of
from edgetl.core.progress import Progress
from edgetl.data.split import SPLITS_FILE, Parts
from edgetl.workstation.backbones.build import Network, build_network, class_logits, head_input
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.checkpoint import FACTS_FILE, load_checkpoint, read_facts
from edgetl.workstation.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.forward_patches import fold_batch_norm
from edgetl.workstation.training.teaching.leaks import require_untaught
from edgetl.workstation.training.teaching.request import Teaching


class FoundTeacher(NamedTuple):
    """A network that can teach a run.

    Attributes:
        network: in eval mode, on the CPU.
        spec: how pictures are prepared for it.
        facts: what the run folder records about it.
        needs_probe: its head does not know the labels yet (`probe.fit_probe`).
    """

    network: Network
    spec: Preprocess
    facts: TeacherFacts
    needs_probe: bool


class Answer(NamedTuple):
    """The teacher's logits, float32 [N, classes], and its head's input, float [N, features]."""

    logits: Tensor
    features: Tensor


class Teacher:
    """Answers on the batches that its student sees.

    Everything is a function of tensors, so that a CUDA graph can capture it.

    Args:
        found: the network, with its probe fitted.
        student: how pictures are prepared for the student.
        compute: device and precision.

    Attributes:
        features: the width of its features.
        side_px: the side of the pictures that it was trained on.
    """

    def __init__(self, found: FoundTeacher, student: Preprocess, compute: Compute) -> None:
        self._network, self._compute = found.network, compute
        self.side_px = found.spec.size_px
        self.features = found.network.head().in_features
        model = found.network.model.eval().requires_grad_(False)
        compute.place(model)
        fold_batch_norm(model)

        def channels(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, device=compute.device).view(1, 3, 1, 1)

        # From the student's normalisation to the teacher's, in one multiplication and addition.
        self._scale = channels(student.std) / channels(found.spec.std)
        self._shift = (channels(student.mean) - channels(found.spec.mean)) / channels(
            found.spec.std
        )

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Answer:
        """Answer on pictures normalised as the student's, float32 [N, 3, side, side].

        A batch of another side than the teacher's is resized, which adds no detail.
        """
        if batch.shape[-1] != self.side_px:
            batch = F.interpolate(batch, size=(self.side_px, self.side_px), mode="bilinear")
        batch = batch * self._scale + self._shift
        with self._compute.autocast(), head_input(self._network) as seen:
            logits = self._network.model(batch.contiguous(memory_format=torch.channels_last))
        return Answer(class_logits(logits).float(), seen[0])


def find_teacher(
    teaching: Teaching, parts: Parts, progress: Progress, *, begun: Path | None = None
) -> FoundTeacher | None:
    """Load the teacher and compare it with the run's labels and pictures; None if there is none.

    Args:
        teaching: what the user asks for.
        parts: the run's pictures.
        progress: where to show how far it is.
        begun: the run folder if the run is resumed; its teacher must have been the same.

    Raises EdgetlError: unusable weights, a run that is unfinished, that has other labels or
    another order of them, or that was trained on pictures that this run is scored on; another
    teacher than the run was begun with.
    """
    found = None
    if teaching.teacher is not None and teaching.teacher.is_dir():
        found = _from_run(teaching.teacher, teaching.teacher_backbone, parts, progress)
    elif teaching.has_teacher:
        found = _from_weights(teaching, len(parts.labels), progress)
    if begun:
        _require_taught_by(begun, found.facts if found else None)
    return found


def _require_taught_by(run: Path, facts: TeacherFacts | None) -> None:
    # A folder without a checkpoint was interrupted before its first epoch ended.
    if not (run / FACTS_FILE).is_file():
        return
    begun = read_facts(run).teacher
    if _identity(begun) == _identity(facts):
        return
    hint = "leave --teacher away"
    if begun:
        file = "" if begun.source == "imagenet" else f" --teacher {begun.source}"
        backbone = f" --teacher-backbone {begun.backbone}" if begun.probed else ""
        hint = f"use the teacher that it was begun with:{file}{backbone}"
    raise EdgetlError(
        f"'{run}' was begun {'with another' if begun else 'without a'} teacher.",
        hint=f"{hint}; or start a new run in another folder.",
    )


def _identity(facts: TeacherFacts | None) -> tuple[str, str] | None:
    return (facts.backbone, facts.sha256) if facts else None


def _from_run(run: Path, backbone: str | None, parts: Parts, progress: Progress) -> FoundTeacher:
    if backbone:
        raise EdgetlError(
            f"'{run}' is a run, which knows its backbone.", hint="leave --teacher-backbone away."
        )
    _require_labels(run, read_facts(run).labels, parts.labels)
    network, facts = load_checkpoint(run)
    if not facts.finished:
        raise EdgetlError(
            f"The teacher '{run}' is not finished.", hint="finish it with --resume first."
        )
    if (run / SPLITS_FILE).is_file():
        require_untaught(run, parts)
    else:
        progress.say(f"'{run}' does not say which pictures it was trained on: if test pictures "
                     "were among them, the scores of this run will be too good")  # fmt: skip
    described = TeacherFacts(
        source=str(run), backbone=facts.backbone, sha256=facts.sha256, top1=facts.test_top1
    )
    return FoundTeacher(network, facts.preprocess, described, needs_probe=False)


def _require_labels(run: Path, teacher: tuple[str, ...], own: tuple[str, ...]) -> None:
    if teacher == own:
        return
    if set(teacher) == set(own):
        index = next(i for i, (a, b) in enumerate(zip(teacher, own, strict=True)) if a != b)
        difference = (
            f"the same labels in another order: its label {index + 1} is '{teacher[index]}', "
            f"here it is '{own[index]}'"
        )
    else:
        only = [f"only the teacher has {_named(set(teacher) - set(own))}"] * bool(
            set(teacher) - set(own)
        )
        only += [f"only the data have {_named(set(own) - set(teacher))}"] * bool(
            set(own) - set(teacher)
        )
        difference = f"other labels: {'; '.join(only)}"
    raise EdgetlError(
        f"The teacher '{run}' has {difference}.",
        hint="a teacher needs the same classes in the same order: fine-tune it on this data.",
    )


def _named(labels: set[str]) -> str:
    names = [f"'{label}'" for label in sorted(labels)]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _from_weights(teaching: Teaching, classes: int, progress: Progress) -> FoundTeacher:
    if teaching.teacher_backbone is None:
        what = "is no run folder" if teaching.teacher and teaching.teacher.exists() else (
            "does not exist")  # fmt: skip
        raise EdgetlError(
            f"The teacher '{teaching.teacher}' {what}.",
            hint="name the folder of a fine-tuned run; or for a weights file its architecture, "
            "e.g. --teacher-backbone efficientnet_lite2",
        )
    backbone = find_backbone(teaching.teacher_backbone, exportable=False)
    if teaching.teacher is not None:
        path, source = teaching.teacher, backbone.source_of(teaching.teacher.name)
    else:
        path, source = find_weights(backbone, progress)
    network = build_network(backbone, classes)
    fit_weights(
        network.model,
        read_state_dict(path),
        what=path.name,
        except_head=network.new_layers(),
        by_order=source.paired_by_order,
    )
    spec = Preprocess(size_px=backbone.size_px, mean=source.mean, std=source.std)
    facts = TeacherFacts(
        source=str(teaching.teacher) if teaching.teacher else "imagenet",
        backbone=backbone.name,
        sha256=sha256_of(path),
        top1=None,
        probed=True,
    )
    network.model.eval()
    return FoundTeacher(network, spec, facts, needs_probe=True)
