"""`edgetl finetune` as a user calls it, in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edgetl.core.progress import Silent
from edgetl.data.split import SPLITS_FILE, read_split, resolve
from edgetl.evaluation.corruptions import mean_top1
from edgetl.workstation.backbones.checkpoint import read_facts
from edgetl.workstation.evaluate import evaluate_run
from edgetl.workstation.training.fold_predictions import predict_test_part


class RunError(Exception):
    """`edgetl finetune` ended with an error; the message is the end of what it printed."""


def finetune_as_user(
    root: Path, run: Path, recipe: str, seed: int, settings: Sequence[str] = ()
) -> float:
    """Fine-tune on `root`/train, test on `root`/test; returns the whole process's seconds.

    Args:
        run: the run folder to make.
        settings: what is set differently from the recipe, e.g. "finetune.epochs=8".

    Raises RunError.
    """
    command = [sys.executable, "-m", "edgetl", "finetune", str(root), "-o", str(run), "-r", recipe]
    command += ["--seed", str(seed)]
    for setting in settings:
        command += ["--set", setting]
    begun = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RunError(f"{' '.join(command[1:])}: {ended.stderr.strip()[-600:]}")
    return time.monotonic() - begun


def answers_of(run: Path) -> dict[Path, int]:
    """The class, as an index into the labels, that a finished run gives each test picture.

    Raises RunError where these answers do not come to the score that the run reports.
    """
    answers = predict_test_part(run, Silent())
    classes = answers.logits.argmax(1)
    split = read_split(run / SPLITS_FILE)
    paths = [example.path.resolve() for example in resolve(split, split.test)]
    top1, reported = float((classes == answers.truth).mean()), read_facts(run).test_top1
    if reported is None or abs(top1 - reported) > 1e-9:
        raise RunError(f"'{run}' reports {reported} and has {top1} of its test part right.")
    return dict(zip(paths, classes.tolist(), strict=True))


def corrupted_top1(run: Path, pictures: Path) -> float:
    """Mean top-1, 0 to 1, over the corruptions of `edgetl evaluate --corruptions`."""
    return mean_top1(evaluate_run(run, pictures, Silent(), corruptions=True).corruptions)
