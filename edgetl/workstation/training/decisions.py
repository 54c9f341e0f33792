"""Settings that a recipe leaves to the pictures and the machine: the values chosen, and why."""

from pathlib import Path

import msgspec

from edgetl.core.files import write_text
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen, to_json

DECISIONS_FILE = "decisions.json"


class Decision(Frozen, kw_only=True, frozen=True):
    """One line of `decisions.json`, e.g. ("mirror images", "both", "the probe loses ...")."""

    name: str
    value: str
    why: str


class Decisions:
    """Shows each decision and saves it in the run folder.

    `out` is None if there is no run folder. A resumed run keeps its earlier decisions.
    """

    def __init__(self, out: Path | None, progress: Progress, *, resume: bool = False) -> None:
        self._out, self._progress = out, progress
        self._made = {made.name: made for made in read_decisions(out)} if out and resume else {}

    def add(self, name: str, value: str, why: str) -> None:
        """Record one decision."""
        self._made[name] = Decision(name=name, value=value, why=why)
        self._progress.say(f"{name}: {value} ({why})")
        if self._out:
            write_text(self._out / DECISIONS_FILE, to_json(list(self._made.values())))


def read_decisions(run: Path) -> list[Decision]:
    """A run's decisions; empty for a run made before decisions were saved."""
    path = run / DECISIONS_FILE
    return msgspec.json.decode(path.read_bytes(), type=list[Decision]) if path.is_file() else []
