"""The same picture more than once: under two labels, in two parts, or simply again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgetl.data.findings import Case, Finding, Kind, Severity
from edgetl.data.fingerprints import (
    BLANK_CONTRAST,
    HASH_BYTES,
    LEAST_PX,
    Fingerprint,
    groups_of,
)

_CONFLICT = "decide which label is right and remove the others; a network cannot learn both"
_LEAK = "keep it in one part only; a score on pictures that were trained on is too good"
_ONE = "keep one of each group"
_APART = (
    f"{_ONE}, or part the pictures yourself (train/val/test folders, or a table "
    "with a split column) so that a group stays together; a seeded split tears it apart"
)


class Seen(NamedTuple):
    """A readable picture: its name below the data's folder, where it belongs, how it looks."""

    name: str
    label: str
    part: str
    look: Fingerprint


class _Wording(NamedTuple):
    kind: Kind
    severity: Severity
    title: str
    advice: str


def find_duplicates(seen: Sequence[Seen]) -> list[Finding]:
    """Identical and near-identical pictures, those that contradict each other first."""
    parted = all(picture.part != "all" for picture in seen)
    return [
        *_sorted_out(
            _same_files(seen),
            _Wording(
                "conflicting-labels", "error", "identical files with different labels", _CONFLICT
            ),
            _Wording("leak", "error", "identical files in different parts", _LEAK),
            _Wording("duplicates", "warning", "identical files", _ONE),
        ),
        *_sorted_out(
            _alike(seen),
            _Wording(
                "near-conflicting-labels",
                "warning",
                "near-identical pictures with different labels",
                _CONFLICT,
            ),
            _Wording("near-leak", "warning", "near-identical pictures in different parts", _LEAK),
            _Wording(
                "near-duplicates",
                "note" if parted else "warning",
                "near-identical pictures",
                _ONE if parted else _APART,
            ),
        ),
    ]


def _same_files(seen: Sequence[Seen]) -> list[list[Seen]]:
    by_hash: dict[bytes, list[Seen]] = {}
    for picture in seen:
        by_hash.setdefault(picture.look.sha256, []).append(picture)
    return [group for group in by_hash.values() if len(group) > 1]


def _alike(seen: Sequence[Seen]) -> list[list[Seen]]:
    """Groups that look alike and are not one file copied."""
    showing = [picture for picture in seen if _shows_enough(picture.look)]
    joined = b"".join(picture.look.seen for picture in showing)
    hashes = np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
    groups = [[showing[i] for i in members] for members in groups_of(hashes)]
    return [group for group in groups if len({picture.look.sha256 for picture in group}) > 1]


def _shows_enough(look: Fingerprint) -> bool:
    short_side_px = min(look.header.width_px, look.header.height_px)
    return look.contrast >= BLANK_CONTRAST and short_side_px >= LEAST_PX


def _sorted_out(
    groups: Sequence[Sequence[Seen]], conflict: _Wording, leak: _Wording, again: _Wording
) -> list[Finding]:
    """A group may both contradict itself and leak; it is a mere duplicate only if neither."""

    def differing(value: Callable[[Seen], str]) -> list[Sequence[Seen]]:
        return [group for group in groups if len({value(picture) for picture in group}) > 1]

    by_label, by_part = differing(lambda p: p.label), differing(lambda p: p.part)
    worse = {id(group) for group in (*by_label, *by_part)}
    mere = [group for group in groups if id(group) not in worse]
    return [
        _finding(conflict, by_label, lambda p: p.label),
        _finding(leak, by_part, lambda p: p.part),
        _finding(again, mere, None),
    ]


def _finding(
    wording: _Wording, groups: Sequence[Sequence[Seen]], told: Callable[[Seen], str] | None
) -> Finding:
    cases = tuple(
        Case(
            files=tuple(picture.name for picture in group),
            detail=", ".join(map(told, group)) if told else "",
        )
        for group in groups
    )
    return Finding(**wording._asdict(), count=len(cases), cases=cases)
