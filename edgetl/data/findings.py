"""The report of `edgetl check`; `--json` prints it with these field names."""

from typing import Literal

from edgetl.core.schema import Frozen

Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "broken",
    "conflicting-labels",
    "near-conflicting-labels",
    "leak",
    "near-leak",
    "duplicates",
    "near-duplicates",
    "missing-class",
    "tiny-class",
    "uneven-classes",
    "blank",
    "small",
    "elongated",
    "turned",
    "unusual-pixels",
]


class Case(Frozen, kw_only=True, frozen=True):
    """One instance of a finding.

    Attributes:
        files: the pictures concerned, relative to the data's folder (POSIX style), or absolute if
            they lie elsewhere; empty if the case concerns whole classes.
        detail: what is wrong in this case, e.g. the labels, the size or the read error.
    """

    files: tuple[str, ...] = ()
    detail: str = ""


class Finding(Frozen, kw_only=True, frozen=True):
    """One kind of problem and every case of it.

    Attributes:
        kind: a short name that stays the same between versions, e.g. "near-duplicates".
        severity: "error": training would stop or learn wrong labels, or the measured accuracy
            would be wrong; "warning": the network would be worse than necessary, or its measured
            accuracy unreliable; "note": worth knowing.
        title: what was found, without the count.
        advice: what to do about it.
        count: the number of cases.
    """

    kind: Kind
    severity: Severity
    title: str
    advice: str
    count: int
    cases: tuple[Case, ...]


class ClassCount(Frozen, kw_only=True, frozen=True):
    """The number of readable pictures of a class, for each part ("all": not split yet)."""

    label: str
    pictures: dict[str, int]


class CheckReport(Frozen, kw_only=True, frozen=True):
    """The result of checking a data set.

    Attributes:
        data: the data set as it was named, e.g. its folder.
        pictures: the number of files checked; `broken` of them cannot be read.
        bytes: total size of the readable files.
        short_side_px: smallest, median and largest short side of the readable pictures.
        findings: errors first, then warnings, then notes.
        seconds: how long the check took.
    """

    data: str
    pictures: int
    broken: int
    bytes: int
    short_side_px: tuple[int, int, int]
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    seconds: float
