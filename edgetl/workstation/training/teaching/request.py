"""What a user asks for: which network teaches a run, and on which pictures without labels."""

from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.workstation.recipe import Recipe


class Teaching(NamedTuple):
    """The arguments of `finetune` that choose a teacher.

    Attributes:
        teacher: the folder of a fine-tuned run, or a weights file of `teacher_backbone`.
        teacher_backbone: the backbone of the weights file; alone: its ImageNet weights.
        unlabelled: folders of pictures that only the teacher labels.
    """

    teacher: Path | None = None
    teacher_backbone: str | None = None
    unlabelled: tuple[Path, ...] = ()

    @property
    def has_teacher(self) -> bool:
        """Whether a network teaches the run."""
        return self.teacher is not None or self.teacher_backbone is not None

    def require_use(self, recipe: Recipe) -> None:
        """Raise EdgetlError if pictures have no teacher to label them, or a teacher no student."""
        if self.has_teacher and recipe.finetune.epochs == 0:
            raise EdgetlError(
                "The recipe trains the linear probe alone, which learns from no teacher.",
                hint="train for --epochs 1 or more, or leave the teacher away.",
            )
        if self.unlabelled and not self.has_teacher:
            raise EdgetlError(
                "--unlabelled needs a teacher: without labels nothing else can be learned.",
                hint="give a fine-tuned network: --teacher RUN",
            )


NO_TEACHING = Teaching()
