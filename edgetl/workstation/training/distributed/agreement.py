"""Making sure that all processes train the same recipe on the same pictures."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from edgetl import __version__
from edgetl.core.errors import EdgetlError
from edgetl.core.schema import to_json
from edgetl.data.folders import Example
from edgetl.data.split import Parts
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.distributed.ranks import Ranks


def require_same_everywhere(facts: Mapping[str, str], ranks: Ranks) -> None:
    """Raise the same EdgetlError in all processes if a fact differs between them.

    Args:
        facts: short texts by what they are about, e.g. {"edgetl": "0.1.0"}. Of those that differ,
            the first is named.
        ranks: the processes.
    """
    everyones = ranks.gather(dict(facts))
    for name, expected in everyones[0].items():
        for rank, theirs in enumerate(everyones):
            if theirs.get(name) != expected:
                raise EdgetlError(
                    f"{ranks.named(rank)} differs from process 0 in {name}: "
                    f"{theirs.get(name)}, not {expected}.",
                    hint="all processes need the same command, versions of edgetl and torch, and "
                    "pictures in the same folders below DATA.",
                )


def run_facts(recipe: Recipe, device: str, *, resume: bool) -> dict[str, str]:
    """What has to be the same before the pictures are read."""
    return {
        "the version of edgetl": __version__,
        "the version of torch": torch.__version__,
        "--device": device,
        "--resume": str(resume),
        "the recipe": _digest([to_json(recipe)]),
    }


def picture_facts(parts: Parts, base: Path) -> dict[str, str]:
    """The classes, and the pictures of each part with their sizes in bytes.

    Args:
        parts: the pictures.
        base: their folder, which may differ between machines.
    """
    facts = {"the classes": ", ".join(parts.labels)}
    for name in ("train", "val", "test"):
        examples: list[Example] = getattr(parts, name)
        lines = (f"{_below(e.path, base)} {_size(e.path)} {e.label}" for e in examples)
        facts[f"the pictures of the {name} part"] = f"{len(examples)} ({_digest(lines)})"
    return facts


def _below(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # decoding it reports the error
        return -1


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:8]
