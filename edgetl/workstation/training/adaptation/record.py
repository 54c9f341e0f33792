"""What adapting a network came to: every candidate's figures, and which was picked."""

from pathlib import Path
from typing import Literal

from edgetl.bundle.reports import Interval
from edgetl.core.schema import Frozen, from_json, read_document
from edgetl.workstation.run_folder import ADAPTATION_FILE

Name = Literal["plain", "batch-norm", "coral", "adversarial"]


class CandidateScore(Frozen, kw_only=True, frozen=True):
    """A network beside others that were adapted to the same pictures in other ways.

    Attributes:
        name: "plain", or the method that adapted it; its run folder is `candidates/NAME`.
        test_top1: the fraction of the data's own test part classified correctly, 0 to 1; None if
            there is none.
        information: the criterion (`criterion.information`) on the pictures adapted to, in nats.
        confidence: the mean probability of the answers to them, 0 to 1.
        target_top1: the fraction classified correctly of labelled pictures from that place, 0 to 1;
            None if there are none. Nothing is chosen by it.
        target_interval: its 95 % interval.
    """

    name: Name
    test_top1: float | None
    information: float
    confidence: float
    target_top1: float | None = None
    target_interval: Interval | None = None


class AdaptationReport(Frozen, kw_only=True, frozen=True):
    """The contents of `adaptation.json`.

    Attributes:
        source: the folder of the pictures adapted to.
        learned_from: how many of them were adapted to.
        judged_on: how many of them the criterion was measured on.
        held_apart: whether these were others than those adapted to.
        check: the folder of labelled pictures from that place; None if there is none.
        picked: the candidate with the largest criterion, whose files the run folder holds.
        candidates: the plain network first.
    """

    source: str
    learned_from: int
    judged_on: int
    held_apart: bool
    check: str | None
    picked: Name
    candidates: tuple[CandidateScore, ...]


def read_adaptation(run: Path) -> AdaptationReport | None:
    """The record of a run; None if the run was not adapted. Raises SchemaError if it is invalid."""
    path = run / ADAPTATION_FILE
    if not path.is_file():
        return None
    return from_json(read_document(path), AdaptationReport, where=f"'{path}'")
