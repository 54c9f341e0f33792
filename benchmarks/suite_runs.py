"""Contenders on fixed parts, each result a JSON file of its own that a later call finds again."""

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from as_user import RunError, answers_of, corrupted_top1, finetune_as_user
from plain_loop import PlainLoop, run_plain
from suite_sets import Laid

from edgetl.core.files import make_folder, write_text
from edgetl.core.schema import to_json
from edgetl.data.folders import read_labelled
from edgetl.workstation.recipe import load_recipe, override

Result = dict[str, Any]


class Contender(NamedTuple):
    """A plain loop, or a recipe with what is set differently from it ("finetune.epochs=8")."""

    name: str
    loop: PlainLoop | None = None
    recipe: str = ""
    settings: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """Everything that decides what it does, as JSON."""
        if self.loop:
            return json.dumps(self.loop._asdict())
        resolved = json.loads(to_json(override(load_recipe(self.recipe), self.settings)))
        del resolved["description"]
        return json.dumps(resolved)


class Task(NamedTuple):
    """One contender on one set's parts for one seed, and where its result goes.

    `corruptions`: whether edgetl's networks are scored on corrupted test pictures, too.
    """

    contender: Contender
    laid: Laid
    results: Path
    corruptions: bool = False

    @property
    def file(self) -> Path:
        """Other settings or other pictures have another name."""
        decided = f"{self.contender.described} {self.laid.digest} {self.laid.seed}"
        decided += " corrupted" * self.corruptions
        key = hashlib.sha256(decided.encode()).hexdigest()[:12]
        return self.results / f"{self.laid.name}-s{self.laid.seed}-{self.contender.name}-{key}.json"

    def finished(self) -> Result | None:
        """The result of an earlier call; None where there is none."""
        return json.loads(self.file.read_text()) if self.file.is_file() else None


def run_task(task: Task) -> Result:
    """Train, measure, and write the result. Raises RunError, EdgetlError."""
    contender, laid = task.contender, task.laid
    corrupted = None
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if contender.loop:
        outcome = run_plain(laid.root, contender.loop, laid.seed)
        seconds, predicted = outcome.seconds, outcome.predicted
    else:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            seconds = finetune_as_user(
                laid.root, run, contender.recipe, laid.seed, contender.settings
            )
            predicted = answers_of(run)
            if task.corruptions:
                corrupted = corrupted_top1(run, laid.root / "test")
    pictures = _beside_truth(laid, predicted)
    result = {
        "set": laid.name,
        "seed": laid.seed,
        "contender": contender.name,
        "kind": "plain" if contender.loop else "edgetl",
        "settings": json.loads(contender.described),
        "set_differently": list(contender.settings),
        "train": laid.train,
        "test": laid.test,
        "parts": laid.digest,
        "top1": sum(truth == said for truth, said in pictures.values()) / len(pictures),
        "corrupted_top1": corrupted,
        "seconds": round(seconds, 1),
        "begun": begun,
        **_conditions(),
        "pictures": pictures,
    }
    make_folder(task.results)
    write_text(task.file, json.dumps(result) + "\n")
    return result


def _beside_truth(laid: Laid, predicted: dict[Path, int]) -> dict[str, tuple[int, int]]:
    """(True class, predicted class) of every test picture, by its path below the data.

    Raises RunError for a picture that was set aside because it cannot be read.
    """
    labels = sorted(path.name for path in (laid.root / "train").iterdir())
    truth = {e.path.resolve(): e.label for e in read_labelled(laid.root / "test", labels).examples}
    unread = sorted(truth.keys() - predicted.keys())
    if unread:
        raise RunError(f"'{unread[0]}' cannot be read: take it out of '{laid.name}'.")
    return {os.path.relpath(path, laid.data): (truth[path], predicted[path]) for path in truth}


def _conditions() -> Result:
    return {
        "torch": torch.__version__,
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "edgetl_commit": head_commit(),
    }


def head_commit() -> str | None:
    """The commit that is checked out where this file lies; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return ended.stdout.strip() or None


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
