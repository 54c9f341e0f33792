"""Pictures -> run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Progress, Silent
from edgetl.core.recipe import Recipe
from edgetl.data.source import base_folder
from edgetl.data.split import Parts, make_parts
from edgetl.pipeline.installed import require_workshop
from edgetl.pipeline.located import locate

if TYPE_CHECKING:
    from edgetl.finetune.rate_finder import FoundRates
    from edgetl.finetune.run import Outcome

State = Literal["new", "interrupted", "finished"]


def finetune(
    data: Path,
    out: Path,
    recipe: Recipe,
    *,
    val: Path | None = None,
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
        recipe: what to do.
        val: class folders or a table to validate on instead of a part of `data`.
        resume: continue an interrupted run of the same recipe.
        loggers: who else is told of every epoch: "tensorboard", "mlflow".
        device: "auto" (the GPU with the most free memory, or the CPU), "cpu", "cuda", "cuda:1" or
            "mps".

    Raises EdgetlError.
    """
    progress = progress or Silent()
    data = locate(data, progress)
    parts = make_parts(data, recipe.split, recipe.seed, val)
    _require_validation(recipe, parts)
    _say_untested(parts, progress)
    require_workshop("train")
    from edgetl.finetune.run import finetune as run_finetune

    require_state(out, run_state(out), resume=resume)
    told = tuple(dict.fromkeys(loggers))
    base = base_folder(data)
    return run_finetune(
        recipe, parts, base, out, progress, resume=resume, loggers=told, device=device
    )


def _require_validation(recipe: Recipe, parts: Parts) -> None:
    if recipe.finetune.stop_after and not parts.val:
        raise EdgetlError(
            "finetune.stop_after needs a validation part, and there is none.",
            hint="hold pictures out, --set split.val=0.1, or give --val a folder of them; or "
            "train to the end: --set finetune.stop_after=null",
        )


def _say_untested(parts: Parts, progress: Progress) -> None:
    """A class of a single picture is trained on, and its recall is not known."""
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
    device: str = "auto",
    progress: Progress | None = None,
) -> "FoundRates":
    """Look for learning rates to train with, from the start that the recipe gives.

    Writes `rates.jsonl` and `rates.png` into `out`, which may become a run's folder afterwards.
    The arguments are those of `finetune`. Raises EdgetlError.
    """
    progress = progress or Silent()
    parts = make_parts(locate(data, progress), recipe.split, recipe.seed, val)
    require_workshop("train")
    from edgetl.finetune.rate_finder import find_rate as run_find_rate

    return run_find_rate(recipe, parts, out, progress, device)


def require_state(out: Path, state: State, *, resume: bool, what: str = "run") -> None:
    """Raises EdgetlError where a folder in this state can be neither begun nor resumed."""
    article = "an interrupted" if state == "interrupted" else "a"
    if state == "finished" and resume:
        raise EdgetlError(
            f"'{out}' is a finished {what}; there is nothing to resume.",
            hint="to train further, start a new run in another folder with -o.",
        )
    if state != "new" and not resume:
        # Either is hours of work: never train over it.
        raise EdgetlError(
            f"'{out}' already holds {article} {what}.",
            hint="choose another folder with -o"
            + (", or continue it with --resume." if state == "interrupted" else "."),
        )


def run_state(run: Path) -> State:
    """What a run folder holds: nothing worth keeping, whole epochs, or a finished run."""
    from edgetl.backbones.checkpoint import FACTS_FILE, read_facts
    from edgetl.finetune.loop import STATE_FILE

    if (run / FACTS_FILE).is_file() and read_facts(run).finished:
        return "finished"
    return "interrupted" if (run / STATE_FILE).is_file() else "new"
