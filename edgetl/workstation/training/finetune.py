"""Fine-tune on pictures and write a run folder; find learning rates."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress, Silent
from edgetl.data.additions import add_to_training, with_added
from edgetl.data.dataset import base_folder
from edgetl.data.split import SPLITS_FILE, Parts, make_parts, read_split, resolve_added
from edgetl.data.unlabelled import add_unlabelled, resume_unlabelled
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.libraries import require_training
from edgetl.workstation.recipe import DEFAULT_RECIPE, Recipe
from edgetl.workstation.run_folder import adaptation_state, require_state, run_state
from edgetl.workstation.training.adaptation.target import find_target
from edgetl.workstation.training.distributed.environment import (
    require_one,
    require_pictures_for_all,
    several,
)
from edgetl.workstation.training.teaching.request import Teaching
from edgetl.workstation.user_recipe import user_recipe

if TYPE_CHECKING:
    from edgetl.workstation.training.rate_finder import FoundRates
    from edgetl.workstation.training.run import Outcome


def finetune(
    data: str | Path,
    out: str | Path,
    recipe: str | Recipe = DEFAULT_RECIPE,
    *,
    val: Path | None = None,
    add: Sequence[str | Path] = (),
    teacher: str | Path | None = None,
    teacher_backbone: str | None = None,
    unlabelled: Sequence[str | Path] = (),
    adapt: str | Path | None = None,
    adapt_check: str | Path | None = None,
    resume: bool = False,
    loggers: Sequence[str] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> "Outcome":
    """Fine-tune a backbone on a folder of pictures.

    Args:
        data: class folders, train/val(/test) folders of them, a CSV table of pictures, or
            "torchvision:NAME".
        out: the run folder; must not hold a finished run.
        recipe: a recipe, the name of one that comes with edgetl, or the path of a YAML file.
        val: class folders or a table to validate on instead of a part of `data`.
        add: further pictures to train on: reviewed folders of `edgetl run --collect`, class folders
            or tables. None of them is validated or tested on.
        teacher: a network to learn from beside the labels: the folder of a fine-tuned run with the
            same labels, or a weights file of `teacher_backbone`.
        teacher_backbone: the architecture of the teacher's weights file, which is then frozen and
            only gets a linear probe; without a file: its ImageNet weights.
        unlabelled: folders of pictures without labels, which the teacher labels.
        adapt: a folder of pictures without labels from the place where the network will run. A
            plain network and adapted ones are trained, and one is chosen without labels.
        adapt_check: labelled pictures from there, as class folders: the candidates are scored on
            them, and none is chosen by that.
        resume: continue an interrupted run of the same recipe, on the pictures it was begun with.
        loggers: tools to log each epoch to: "tensorboard", "mlflow".
        device: "auto" (the GPU with the most free memory, or the CPU), "cpu", "cuda", "cuda:1" or
            "mps".
        progress: where to show how far it is; None: nowhere.

    In one of several processes that torchrun or `edgetl finetune --nproc` started, the pictures
    of each step are shared out, and the first process writes the run folder; all get the outcome.

    Raises EdgetlError.

    Examples:
        ```python
        import edgetl

        outcome = edgetl.finetune("photos", "run")
        print(f"top-1 {outcome.test.top1:.1%} on {outcome.test.images} held-out pictures")
        ```
    """
    progress = progress or Silent()
    teaching = Teaching(Path(teacher) if teacher else None, teacher_backbone,
                        tuple(map(Path, unlabelled)))  # fmt: skip
    if isinstance(recipe, str):
        recipe = user_recipe(recipe, teacher=teaching.has_teacher, adapts=adapt is not None)
    teaching.require_use(recipe)
    run = _Run(
        Path(data), Path(out), recipe, val, tuple(map(Path, add)), teaching,
        Path(adapt) if adapt else None, Path(adapt_check) if adapt_check else None,
        resume, tuple(dict.fromkeys(loggers)), device,
    )  # fmt: skip
    if several(os.environ):
        return run.among_several(progress)
    return run.adapted(progress) if adapt else run.plain(progress)


class _Run(NamedTuple):
    """The arguments of `finetune`, and the three ways to run it."""

    data: Path
    out: Path
    recipe: Recipe
    val: Path | None
    add: tuple[Path, ...]
    teaching: Teaching
    adapt: Path | None
    adapt_check: Path | None
    resume: bool
    loggers: tuple[str, ...]
    device: str

    def plain(self, progress: Progress) -> "Outcome":
        """In this process alone."""
        parts, base = self._read(progress)
        require_training()
        require_state(self.out, run_state(self.out), resume=self.resume)
        return self._train(parts, base, progress)

    def adapted(self, progress: Progress) -> "Outcome":
        """Plainly and adapted to the pictures of another place."""
        parts, base = self._read(progress)
        assert self.adapt is not None
        target = find_target(parts, self.adapt, self.adapt_check, self.recipe.seed, progress)
        require_training()
        from edgetl.workstation.training.adaptation.candidates import Candidates

        require_state(self.out, adaptation_state(self.out), resume=self.resume)
        return Candidates(
            self.recipe, parts, base, self.out, target,
            loggers=self.loggers, device=self.device, progress=progress,
        ).run()  # fmt: skip

    def among_several(self, progress: Progress) -> "Outcome":
        """As one of several processes, which torchrun or `--nproc` started."""
        if self.teaching.has_teacher or self.adapt:
            require_one(os.environ, "--adapt" if self.adapt else "A run with a teacher")
        require_training()
        from edgetl.workstation.training.distributed.agreement import (
            picture_facts,
            require_same_everywhere,
            run_facts,
        )
        from edgetl.workstation.training.distributed.joining import joined_ranks

        with joined_ranks(self.device) as ranks:
            require_pictures_for_all(self.recipe.finetune.batch, ranks.count)
            shown = progress if ranks.first else Silent()
            require_same_everywhere(run_facts(self.recipe, self.device, resume=self.resume), ranks)
            parts, base = ranks.one_first(lambda: self._read(shown))
            require_same_everywhere(picture_facts(parts, base), ranks)
            if ranks.first:
                require_state(self.out, run_state(self.out), resume=self.resume)
            return self._train(parts, base, shown, ranks=ranks)

    def _read(self, progress: Progress) -> tuple[Parts, Path]:
        """The pictures to train on, and the folder that their names are relative to."""
        data = locate(self.data, progress)
        parts = make_parts(data, self.recipe.split, self.recipe.seed, self.val)
        parts = _with_additions(
            parts, self.out, self.add, self.teaching.unlabelled, progress, resume=self.resume
        )
        _require_validation(self.recipe, parts)
        _report_untested(parts, progress)
        return parts, base_folder(data)

    def _train(self, parts: Parts, base: Path, progress: Progress, **more: Any) -> "Outcome":
        from edgetl.workstation.training.run import train_run

        return train_run(
            self.recipe, parts, base, self.out, progress, resume=self.resume,
            loggers=self.loggers, device=self.device, teaching=self.teaching, **more,
        )  # fmt: skip


def _with_additions(
    parts: Parts,
    out: Path,
    add: Sequence[Path],
    unlabelled: Sequence[Path],
    progress: Progress,
    *,
    resume: bool,
) -> Parts:
    """Add pictures to train on; a resumed run goes on with those that it has."""
    if not resume or not (out / SPLITS_FILE).is_file():
        parts = add_to_training(parts, add, progress.say)
        return add_unlabelled(parts, unlabelled, progress.say)
    split = read_split(out / SPLITS_FILE)
    if {str(source.resolve()) for source in add} != set(split.added):
        begun = " ".join(f"--add {source}" for source in split.added)
        raise EdgetlError(
            f"'{out}' was begun with other added pictures.",
            hint=f"resume it with {begun}." if begun else "resume it without --add.",
        )
    return resume_unlabelled(with_added(parts, resolve_added(split)), split, unlabelled)


def _require_validation(recipe: Recipe, parts: Parts) -> None:
    if recipe.finetune.stop_after and not parts.val:
        raise EdgetlError(
            "finetune.stop_after needs a validation part, and there is none.",
            hint="hold pictures out, --set split.val=0.1, or give --val a folder of them; or "
            "train to the end: --set finetune.stop_after=null",
        )


def _report_untested(parts: Parts, progress: Progress) -> None:
    """Report the classes without test pictures, whose recall is not measured."""
    tested = {example.label for example in parts.test}
    missing = [label for index, label in enumerate(parts.labels) if index not in tested]
    if parts.test and missing:
        names = ", ".join(f"'{label}'" for label in missing[:10])
        progress.say(f"no picture is left to test these classes on: {names}")


def find_rate(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    val: Path | None = None,
    add: Sequence[Path] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> "FoundRates":
    """Find learning rates to train with, by a range test on the recipe's initial network.

    Writes `rates.jsonl` and `rates.png` into `out`, which may become a run's folder afterwards.
    The arguments are those of `finetune`. Raises EdgetlError.
    """
    require_one(os.environ, "A learning-rate range test")
    progress = progress or Silent()
    parts = make_parts(locate(data, progress), recipe.split, recipe.seed, val)
    parts = add_to_training(parts, add, progress.say)
    require_training()
    from edgetl.workstation.training.rate_finder import find_rate as run_find_rate

    return run_find_rate(recipe, parts, out, progress, device)
