"""Counts of each day's answers, of the pictures that are kept and of all the others."""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from edgetl.bundle.manifest import Sha256
from edgetl.bundle.profile import (
    CONFIDENCE_EDGES,
    DISTANCE_EDGES,
    Profile,
    confidence_bin,
    distance_bin,
)
from edgetl.bundle.reports import Prediction
from edgetl.core.errors import SchemaError
from edgetl.core.files import make_folder, unwritable, write_durably
from edgetl.core.schema import Frozen, from_json, read_document

DAYS_FOLDER = "days"
DAY_VERSION = 1
_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.json")


class Answerer(NamedTuple):
    """What answers: a bundle, by its digest, its artifact's name, and its labels in order."""

    bundle: str
    artifact: str
    labels: Sequence[str]


class DayEntry(Frozen, kw_only=True, frozen=True):
    """The answers of one artifact on one day.

    Attributes:
        bundle: the digest of its bundle.
        artifact: its name, e.g. "tflite-int8".
        answers: their counts.
    """

    bundle: Sha256
    artifact: str
    answers: Profile

    def kind(self) -> tuple[object, ...]:
        """Entries of one kind can be added up."""
        counts = self.answers
        return (
            self.bundle,
            self.artifact,
            len(counts.classes),
            counts.unknown is None,
            counts.distance is None,
        )


class Day(Frozen, kw_only=True, frozen=True):
    """The answers of one day: the contents of `days/YYYY-MM-DD.json`.

    Attributes:
        version: the version of this format.
        date: the day, in UTC.
        entries: no two are of one kind.
    """

    version: int
    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    entries: tuple[DayEntry, ...]


def total(counts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Add up counts of the same bins."""
    return tuple(map(sum, zip(*counts, strict=True)))


def add_up(profiles: Sequence[Profile]) -> Profile:
    """Add up one or more profiles of the same classes, all with a distance or all without."""
    distances = [p.distance for p in profiles if p.distance is not None]
    return Profile(
        images=sum(p.images for p in profiles),
        classes=total(p.classes for p in profiles),
        confidence=total(p.confidence for p in profiles),
        distance=total(distances) if distances else None,
        unknown=None if profiles[0].unknown is None else sum(p.unknown or 0 for p in profiles),
    )


def read_days(folder: Path) -> tuple[list[Day], list[str]]:
    """Read the days of a collected folder, in order.

    Returns the days, and a sentence for each file that cannot be used.
    """
    days, problems = [], []
    files = folder / DAYS_FOLDER
    for path in sorted(files.iterdir()) if files.is_dir() else ():
        if _FILE.fullmatch(path.name):
            try:
                days.append(read_day(path))
            except SchemaError as error:
                problems.append(str(error))
    return days, problems


def read_day(path: Path) -> Day:
    """Read a day's file. Raises SchemaError if it is missing, malformed, or newer than edgetl."""
    day = from_json(read_document(path), Day, where=f"'{path}'")
    if day.version > DAY_VERSION:
        raise SchemaError(f"'{path}' was written by a newer edgetl.", hint="update edgetl.")
    if day.date != path.stem:
        raise SchemaError(f"'{path}' is the file of another day, {day.date}.")
    return day


class DayBook:
    """Counts answers by day, and writes the counts into a folder.

    Args:
        folder: the collected folder.
        answerer: what answers.
        say: called with a sentence if a file of the folder cannot be used.
    """

    def __init__(self, folder: Path, answerer: Answerer, say: Callable[[str], None]) -> None:
        self._folder, self._answerer, self._say = folder / DAYS_FOLDER, answerer, say
        self._index = {label: index for index, label in enumerate(answerer.labels)}
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._counts: dict[str, dict[tuple[bool, bool], _Counts]] = {}
        self._before: dict[str, tuple[DayEntry, ...]] = {}
        self._unwritten: set[str] = set()

    def add(self, prediction: Prediction, time: datetime) -> None:
        """Count an answer; this only takes microseconds."""
        date = f"{time.astimezone(timezone.utc):%Y-%m-%d}"
        kind = prediction.unknown is not None, prediction.distance is not None
        with self._lock:
            by_kind = self._counts.setdefault(date, {})
            if kind not in by_kind:
                by_kind[kind] = _Counts(len(self._index), *kind)
            by_kind[kind].add(prediction, self._index[prediction.top[0].label])
            self._unwritten.add(date)

    def write(self) -> None:
        """Write what was counted since the last time. Raises EdgetlError if that fails."""
        with self._lock:
            unwritten = sorted(self._unwritten)
        for date in unwritten:
            make_folder(self._folder)
            with self._lock:
                self._unwritten.discard(date)
            try:
                day = Day(version=DAY_VERSION, date=date, entries=self.entries(date))
                write_durably(self._folder / f"{date}.json", msgspec.json.encode(day))
            except BaseException:
                with self._lock:
                    self._unwritten.add(date)
                raise
        with self._lock:
            self._forget(max(self._counts, default=""))

    def entries(self, date: str) -> tuple[DayEntry, ...]:
        """What was counted on a day, in this process and before.

        Raises EdgetlError if the day's file cannot be read now, or has to be set aside and cannot.
        """
        with self._lock:
            counted = [counts.profile() for counts in self._counts.get(date, {}).values()]
        bundle, artifact, _ = self._answerer
        with self._reading:
            entries = {entry.kind(): entry for entry in self._found(date)}
        for answers in counted:
            entry = DayEntry(bundle=bundle, artifact=artifact, answers=answers)
            earlier = entries.get(entry.kind())
            if earlier:
                answers = add_up([earlier.answers, answers])
            entries[entry.kind()] = msgspec.structs.replace(entry, answers=answers)
        return tuple(entries.values())

    def _found(self, date: str) -> tuple[DayEntry, ...]:
        """What earlier processes counted on a day. Raises EdgetlError."""
        if date not in self._before:
            path = self._folder / f"{date}.json"
            try:
                self._before[date] = read_day(path).entries
            except SchemaError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    if isinstance(error.__cause__, OSError):
                        raise  # it may be readable later, and must not be overwritten
                    self._set_aside(path, error)
                self._before[date] = ()
        return self._before[date]

    def _set_aside(self, path: Path, error: SchemaError) -> None:
        aside = path.with_suffix(".unreadable")
        try:
            path.replace(aside)
        except OSError as failure:
            raise unwritable(path, failure) from failure
        self._say(f"{error} It is set aside as '{aside.name}'; counting begins anew.")

    def _forget(self, newest: str) -> None:
        for date in set(self._counts) - {newest} - self._unwritten:
            del self._counts[date]
            self._before.pop(date, None)


class _Counts:
    """A `Profile` that grows."""

    def __init__(self, classes: int, judged: bool, measured: bool) -> None:
        self._classes = [0] * classes
        self._confidence = [0] * (len(CONFIDENCE_EDGES) + 1)
        self._distance = [0] * (len(DISTANCE_EDGES) + 1) if measured else None
        self._unknown = 0 if judged else None

    def add(self, prediction: Prediction, label: int) -> None:
        self._classes[label] += 1
        self._confidence[confidence_bin(prediction.probability)] += 1
        if self._distance is not None and prediction.distance is not None:
            self._distance[distance_bin(prediction.distance)] += 1
        if self._unknown is not None:
            self._unknown += bool(prediction.unknown)

    def profile(self) -> Profile:
        return Profile(
            images=sum(self._classes),
            classes=tuple(self._classes),
            confidence=tuple(self._confidence),
            distance=None if self._distance is None else tuple(self._distance),
            unknown=self._unknown,
        )
