"""Find pictures that occur more than once: under two labels, in two parts, or merely repeated."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgetl.data.findings import Case, Finding, Kind, Severity
from edgetl.data.fingerprints import (
    BLANK_CONTRAST,
    HASH_BYTES,
    MIN_SIDE_PX,
    Fingerprint,
    groups_of,
)

_CONFLICT = "decide which label is right and remove the others; a network cannot learn both"
_LEAK = "keep each group in one part only; accuracy on pictures that were trained on is too high"
_ONE = "keep one picture of each group"
_APART = (
    f"{_ONE}, or split the pictures yourself (train/val/test folders, or a table with a split "
    "column) so that a group stays in one part; a random split separates it"
)


class CheckedPicture(NamedTuple):
    """A picture that can be read.

    Attributes:
        name: its path, relative to the data's folder if it lies below it.
        label: the name of its class.
        part: "all", "train", "val" or "test".
        fingerprint: its size, hashes and contrast.
    """

    name: str
    label: str
    part: str
    fingerprint: Fingerprint


class _Wording(NamedTuple):
    """How a kind of finding is reported."""

    kind: Kind
    severity: Severity
    title: str
    advice: str


def find_duplicates(pictures: Sequence[CheckedPicture]) -> list[Finding]:
    """Find identical files and near-identical pictures.

    Returns six findings, each possibly without cases: for identical files and then for
    near-identical pictures, groups with different labels, groups in different parts, and all
    other groups.
    """
    is_split = all(picture.part != "all" for picture in pictures)
    return [
        *_findings_of(
            _same_files(pictures),
            _Wording(
                "conflicting-labels", "error", "identical files with different labels", _CONFLICT
            ),
            _Wording("leak", "error", "identical files in different parts", _LEAK),
            _Wording("duplicates", "warning", "identical files", _ONE),
        ),
        *_findings_of(
            _near_identical(pictures),
            _Wording(
                "near-conflicting-labels",
                "warning",
                "near-identical pictures with different labels",
                _CONFLICT,
            ),
            _Wording("near-leak", "warning", "near-identical pictures in different parts", _LEAK),
            _Wording(
                "near-duplicates",
                "note" if is_split else "warning",
                "near-identical pictures",
                _ONE if is_split else _APART,
            ),
        ),
    ]


def _same_files(pictures: Sequence[CheckedPicture]) -> list[list[CheckedPicture]]:
    by_hash: dict[bytes, list[CheckedPicture]] = {}
    for picture in pictures:
        by_hash.setdefault(picture.fingerprint.sha256, []).append(picture)
    return [group for group in by_hash.values() if len(group) > 1]


def _near_identical(pictures: Sequence[CheckedPicture]) -> list[list[CheckedPicture]]:
    """Groups of pictures that look the same; groups of copies of a single file are left out."""
    hashed = [picture for picture in pictures if _can_be_compared(picture.fingerprint)]
    joined = b"".join(picture.fingerprint.perceptual_hash for picture in hashed)
    hashes = np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
    groups = [[hashed[i] for i in members] for members in groups_of(hashes)]
    return [group for group in groups if len({p.fingerprint.sha256 for p in group}) > 1]


def _can_be_compared(fingerprint: Fingerprint) -> bool:
    """Whether the picture has enough contrast and pixels for a meaningful perceptual hash."""
    short_side_px = min(fingerprint.header.width_px, fingerprint.header.height_px)
    return fingerprint.contrast >= BLANK_CONTRAST and short_side_px >= MIN_SIDE_PX


def _findings_of(
    groups: Sequence[Sequence[CheckedPicture]],
    conflict: _Wording,
    leak: _Wording,
    duplicate: _Wording,
) -> list[Finding]:
    """Sort groups into findings.

    A group may be a conflict (different labels) and a leak (different parts) at the same time; it
    is reported as a plain duplicate only if it is neither.
    """

    def differing(value: Callable[[CheckedPicture], str]) -> list[Sequence[CheckedPicture]]:
        return [group for group in groups if len({value(picture) for picture in group}) > 1]

    by_label, by_part = differing(lambda p: p.label), differing(lambda p: p.part)
    worse = {id(group) for group in (*by_label, *by_part)}
    plain = [group for group in groups if id(group) not in worse]
    return [
        _finding(conflict, by_label, lambda p: p.label),
        _finding(leak, by_part, lambda p: p.part),
        _finding(duplicate, plain, None),
    ]


def _finding(
    wording: _Wording,
    groups: Sequence[Sequence[CheckedPicture]],
    detail: Callable[[CheckedPicture], str] | None,
) -> Finding:
    """One finding with a case for each group; `detail` gives what to print of each picture."""
    cases = tuple(
        Case(
            files=tuple(picture.name for picture in group),
            detail=", ".join(map(detail, group)) if detail else "",
        )
        for group in groups
    )
    return Finding(**wording._asdict(), count=len(cases), cases=cases)
