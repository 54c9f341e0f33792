"""How far answers in the field are from those to a bundle's own held-out pictures."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact, MeasuredPart
from edgetl.bundle.profile import Profile
from edgetl.collection.days import Day, DayEntry, total
from edgetl.collection.divergence import Counts, compare_counts
from edgetl.core.errors import BundleError, DataError
from edgetl.core.schema import Frozen

BOUND = 0.25
"""The index above which a change is large."""

LEVEL = 0.01
"""How probable it may be that some comparison finds drift where there is none."""

LEAST_IMAGES = 30
"""A day with fewer pictures is shown, but not judged by itself."""


def is_judged(images: int) -> bool:
    """Whether a day has enough pictures to be judged by itself."""
    return images >= LEAST_IMAGES


Quantity = Literal["confidence", "distance", "classes"]


class DriftScore(Frozen, kw_only=True, frozen=True):
    """How far a quantity's counts in the field are from the profile's.

    Attributes:
        quantity: "confidence", "distance" or "classes".
        psi: the population stability index, 0 or more (`edgetl.collection.divergence`).
        p_value: how probable so large an index is if nothing has changed.
        drifted: whether the index is above the bound, and not by chance.
    """

    quantity: Quantity
    psi: float
    p_value: float
    drifted: bool


class DriftRow(Frozen, kw_only=True, frozen=True):
    """The answers of a day, or of all days together.

    Attributes:
        date: the day, in UTC; None: all days.
        images: how many pictures were answered.
        unknown: the share of them that the bundle's rule calls unknown, 0 to 1; None: not known.
        scores: of the quantities that the profile and the answers both have.
    """

    date: str | None
    images: int
    unknown: float | None
    scores: tuple[DriftScore, ...]

    @property
    def judged(self) -> bool:
        """Whether there are enough pictures."""
        return is_judged(self.images)


class DriftReport(Frozen, kw_only=True, frozen=True):
    """How the answers of one artifact in the field differ from those to its held-out pictures.

    Attributes:
        artifact: its name, e.g. "tflite-int8".
        bundle: the digest of its bundle.
        part: the part of the data that the profile's pictures are from; "train": random crops of
            training pictures, to which answers are surer than to any others.
        images: how many pictures the profile has.
        unknown: the share of them that is called unknown, 0 to 1; None: not known.
        bound: the index above which a change is drift.
        level: the p-value below which it is not chance: `LEVEL` by the number of comparisons.
        total: all days together.
        days: each day, in order.
    """

    artifact: str
    bundle: str
    part: MeasuredPart | None
    images: int
    unknown: float | None
    bound: float
    level: float
    total: DriftRow
    days: tuple[DriftRow, ...]

    def drifted(self, quantities: Sequence[Quantity]) -> list[tuple[DriftRow, DriftScore]]:
        """The rows in which one of these quantities drifted, with its score."""
        return [
            (row, score)
            for row in (self.total, *self.days)
            for score in row.scores
            if score.drifted and score.quantity in quantities
        ]


def measure_drift(bundle: Bundle, days: Sequence[Day], bound: float = BOUND) -> list[DriftReport]:
    """Compare the days' answers of each of a bundle's artifacts with the artifact's profile.

    Args:
        bundle: its artifacts must have profiles.
        days: answers of other bundles among them are left out.
        bound: the index above which a change is drift.

    Raises DataError if the days have no answer of this bundle, BundleError if an artifact that
    answered has no profile.
    """
    answers: dict[str, dict[str, list[Profile]]] = {}
    for day in days:
        for entry in day.entries:
            ours = len(entry.answers.classes) == len(bundle.manifest.labels)
            if ours and entry.bundle == bundle.digest:
                by_date = answers.setdefault(entry.artifact, {})
                by_date.setdefault(day.date, []).append(entry.answers)
    if not answers:
        raise DataError(
            f"These days have no answers of '{bundle.path}'.",
            hint="give the bundle that answered: the folder's bundles/ has its name and digest.",
        )
    return [
        _report(bundle, bundle.artifact(name), by_date, bound)
        for name, by_date in sorted(answers.items())
    ]


def score_today(profile: Profile, entries: Iterable[DayEntry]) -> DriftRow | None:
    """Compare one day's answers of an artifact with its profile; None if there are none."""
    answers = [entry.answers for entry in entries if entry.answers.images]
    level = LEVEL / len(_sample([profile]).counts)
    return _row(profile, answers, None, BOUND, level) if answers else None


def _report(
    bundle: Bundle, artifact: Artifact, by_date: dict[str, list[Profile]], bound: float
) -> DriftReport:
    profile = artifact.profile
    if profile is None:
        raise BundleError(
            f"'{artifact.name}' of '{bundle.path}' has no profile of its held-out pictures.",
            hint="export again with this version of edgetl, and collect with the new bundle.",
        )
    together = [answers for each in by_date.values() for answers in each]
    judged = sum(is_judged(sum(a.images for a in each)) for each in by_date.values())
    level = LEVEL / (len(_sample([profile]).counts) * (1 + judged))
    return DriftReport(
        artifact=artifact.name,
        bundle=bundle.digest,
        part=artifact.unknown.part if artifact.unknown else None,
        images=profile.images,
        unknown=None if profile.unknown is None else profile.unknown / max(1, profile.images),
        bound=bound,
        level=level,
        total=_row(profile, together, None, bound, level),
        days=tuple(_row(profile, each, date, bound, level) for date, each in by_date.items()),
    )


class _Sample(NamedTuple):
    """Counts by quantity, and the number and share of pictures that the rule judged."""

    images: int
    counts: dict[Quantity, Counts]
    unknown: float | None


def _row(
    profile: Profile, answers: Sequence[Profile], date: str | None, bound: float, level: float
) -> DriftRow:
    own, field = _sample([profile]), _sample(answers)
    scores = []
    for quantity in own.counts.keys() & field.counts.keys():
        found = compare_counts(
            own.counts[quantity],
            field.counts[quantity],
            ordered=quantity != "classes",
            permutations=math.ceil(2 / level),
        )
        large = found.psi > bound and found.p_value < level
        scores.append(
            DriftScore(
                quantity=quantity,
                psi=found.psi,
                p_value=found.p_value,
                drifted=large and is_judged(field.images),
            )
        )
    ranked = sorted(scores, key=lambda score: list(own.counts).index(score.quantity))
    return DriftRow(date=date, images=field.images, unknown=field.unknown, scores=tuple(ranked))


def _sample(profiles: Sequence[Profile]) -> _Sample:
    """Add up profiles; only some of them may have distances, or have been judged."""
    judged = [p for p in profiles if p.unknown is not None]
    far = [p.distance for p in profiles if p.distance is not None and p.images]
    totals: dict[Quantity, tuple[int, ...]] = {"confidence": total(p.confidence for p in profiles)}
    if far:
        totals["distance"] = total(far)
    totals["classes"] = total(p.classes for p in profiles)
    counts = {quantity: np.array(each, np.int64) for quantity, each in totals.items()}
    images = sum(p.images for p in judged)
    unknown = sum(p.unknown or 0 for p in judged) / images if images else None
    return _Sample(sum(p.images for p in profiles), counts, unknown)
