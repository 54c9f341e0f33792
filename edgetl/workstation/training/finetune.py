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
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.libraries import require_training
from edgetl.workstation.recipe import DEFAULT_RECIPE, Recipe, user_recipe
from edgetl.workstation.run_folder import require_state, run_state
from edgetl.workstation.training.distributed.environment import (
    require_one,
    require_pictures_for_all,
    several,
)

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
    progress, out = progress or Silent(), Path(out)
    recipe = user_recipe(recipe) if isinstance(recipe, str) else recipe
    added = list(map(Path, add))

    def read(shown: Progress) -> _Read:
        located = locate(Path(data), shown)
        parts = make_parts(located, recipe.split, recipe.seed, val)
        parts = _with_additions(parts, out, added, shown, resume=resume)
        _require_validation(recipe, parts)
        _report_untested(parts, shown)
        return _Read(parts, base_folder(located))

    def train(found: _Read, shown: Progress, **more: Any) -> "Outcome":
        from edgetl.workstation.training.run import train_run

        names = tuple(dict.fromkeys(loggers))
        return train_run(
            recipe, *found, out, shown, resume=resume, loggers=names, device=device, **more
        )

    if not several(os.environ):
        found = read(progress)
        require_training()
        require_state(out, run_state(out), resume=resume)
        return train(found, progress)
    require_training()
    from edgetl.workstation.training.distributed.agreement import (
        picture_facts,
        require_same_everywhere,
        run_facts,
    )
    from edgetl.workstation.training.distributed.joining import joined_ranks

    with joined_ranks(device) as ranks:
        require_pictures_for_all(recipe.finetune.batch, ranks.count)
        progress = progress if ranks.first else Silent()
        require_same_everywhere(run_facts(recipe, device, resume=resume), ranks)
        found = ranks.one_first(lambda: read(progress))
        require_same_everywhere(picture_facts(*found), ranks)
        if ranks.first:
            require_state(out, run_state(out), resume=resume)
        return train(found, progress, ranks=ranks)


class _Read(NamedTuple):
    """The pictures to train on, and the folder that their names are relative to."""

    parts: Parts
    base: Path


def _with_additions(
    parts: Parts, out: Path, add: Sequence[Path], progress: Progress, *, resume: bool
) -> Parts:
    """Add pictures to the training part; a resumed run goes on with those that it has."""
    if not resume or not (out / SPLITS_FILE).is_file():
        return add_to_training(parts, add, progress.say)
    split = read_split(out / SPLITS_FILE)
    if {str(source.resolve()) for source in add} != set(split.added):
        begun = " ".join(f"--add {source}" for source in split.added)
        raise EdgetlError(
            f"'{out}' was begun with other added pictures.",
            hint=f"resume it with {begun}." if begun else "resume it without --add.",
        )
    return with_added(parts, resolve_added(split))


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
