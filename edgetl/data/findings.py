"""What looking pictures over found: printed as JSON as it stands."""

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
        files: the pictures concerned, below the data's folder (POSIX style; absolute where
            they lie elsewhere); empty where a whole class is meant.
        detail: what is the matter with just these.
    """

    files: tuple[str, ...] = ()
    detail: str = ""


class Finding(Frozen, kw_only=True, frozen=True):
    """One kind of trouble and every case of it.

    Attributes:
        severity: "error": training would stop or learn what is wrong; "warning": the network
            or its score would be worse than it need be, or better than it is; "note": worth
            knowing.
        title: what was found, without the count.
        advice: what to do about it.
        count: how many cases.
    """

    kind: Kind
    severity: Severity
    title: str
    advice: str
    count: int
    cases: tuple[Case, ...]


class ClassCount(Frozen, kw_only=True, frozen=True):
    """How many readable pictures of a class each part has ("all": not parted yet)."""

    label: str
    pictures: dict[str, int]


class CheckReport(Frozen, kw_only=True, frozen=True):
    """A data set looked over.

    Attributes:
        pictures: files that were looked at; `broken` of them cannot be read.
        bytes: what the files take.
        short_side_px: smallest, median and largest short side of the readable pictures.
        findings: errors first, then warnings, then notes.
        seconds: how long it took.
    """

    data: str
    pictures: int
    broken: int
    bytes: int
    short_side_px: tuple[int, int, int]
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    seconds: float
