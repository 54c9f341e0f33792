"""Pictures -> run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress, Silent
from edgetl.core.recipe import Recipe
from edgetl.data.source import base_folder
from edgetl.data.split import make_parts
from edgetl.pipeline.installed import require_workshop
from edgetl.pipeline.located import locate

if TYPE_CHECKING:
    from edgetl.finetune.run import Outcome


def finetune(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    val: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> "Outcome":
    """Fine-tune a backbone on a folder of pictures.

    Args:
        data: class folders, train/val(/test) folders of them, a CSV table of pictures, or
            "torchvision:NAME".
        out: the run folder; must not hold a finished run.
        recipe: what to do.
        val: class folders or a table to validate on instead of a part of `data`.
        resume: continue an interrupted run of the same recipe.

    Raises EdgetlError.
    """
    progress = progress or Silent()
    data = locate(data, progress)
    parts = make_parts(data, recipe.split, recipe.seed, val)
    require_workshop("train")
    from edgetl.finetune.run import finetune as run_finetune

    state = run_state(out)
    if state == "finished" and resume:
        raise EdgetlError(
            f"'{out}' is a finished run; there is nothing to resume.",
            hint="to train further, start a new run in another folder with -o.",
        )
    if state != "new" and not resume:
        # Either is hours of work: never train over it.
        raise EdgetlError(
            f"'{out}' already holds {'a' if state == 'finished' else 'an interrupted'} run.",
            hint="choose another folder with -o"
            + (", or continue it with --resume." if state == "interrupted" else "."),
        )
    return run_finetune(recipe, parts, base_folder(data), out, progress, resume=resume)


def run_state(run: Path) -> Literal["new", "interrupted", "finished"]:
    """What a run folder holds: nothing worth keeping, whole epochs, or a finished run."""
    from edgetl.backbones.checkpoint import FACTS_FILE, read_facts
    from edgetl.finetune.loop import STATE_FILE

    if (run / FACTS_FILE).is_file() and read_facts(run).finished:
        return "finished"
    return "interrupted" if (run / STATE_FILE).is_file() else "new"
