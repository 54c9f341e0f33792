"""Counts of each day's answers."""

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from edgetl.bundle.profile import Profile
from edgetl.collection.days import Answerer, DayBook, read_days
from edgetl.core.errors import EdgetlError
from tests.collection.making import DIGEST, NOON, answer, profile

CATS = Answerer(DIGEST, "onnx-fp32", ("cat", "dog"))


def book(folder: Path, answerer: Answerer = CATS) -> tuple[DayBook, list[str]]:
    said: list[str] = []
    return DayBook(folder, answerer, said.append), said


def counted(folder: Path) -> list[tuple[str, list[Profile]]]:
    days, problems = read_days(folder)
    assert problems == []
    return [(day.date, [entry.answers for entry in day.entries]) for day in days]


def test_answers_are_counted_by_class_confidence_and_distance(tmp_path: Path) -> None:
    days, _ = book(tmp_path)
    days.add(answer(probability=0.95, unknown=False, distance=0.7), NOON)
    days.add(answer(probability=1.0, unknown=False, distance=1.0), NOON)
    days.add(answer("dog", probability=0.05, unknown=True, distance=9.0), NOON)
    assert counted(tmp_path) == []
    days.write()
    expected = profile([0.95, 1.0, 0.05], [0.7, 1.0, 9.0], (2, 1))
    assert counted(tmp_path) == [("2026-07-01", [expected])]
    assert expected.unknown == 1
    assert expected.confidence[-1] == expected.confidence[0] == expected.confidence[10] == 1


def test_a_restart_adds_to_the_day(tmp_path: Path) -> None:
    for probability in (0.5, 0.6, 0.7):
        days, _ = book(tmp_path)
        days.add(answer(probability=probability), NOON)
        days.write()
        days.write()  # nothing new
        days.add(answer(probability=0.95), NOON)
        days.write()
    assert counted(tmp_path) == [
        ("2026-07-01", [profile([0.5, 0.6, 0.7, 0.95, 0.95, 0.95], classes=(6, 0))])
    ]


def test_days_end_at_midnight_utc_and_a_clock_may_jump(tmp_path: Path) -> None:
    days, _ = book(tmp_path)
    for hours in (0, 11.9, 12.1, 36, 2, -500_000):  # the last one: a clock that was not set yet
        days.add(answer(), NOON + timedelta(hours=hours))
        days.write()
    assert [(date, [p.images for p in each]) for date, each in counted(tmp_path)] == [
        ("1969-06-17", [1]), ("2026-07-01", [3]), ("2026-07-02", [1]), ("2026-07-03", [1]),
    ]  # fmt: skip


def test_bundles_artifacts_and_unjudged_answers_are_counted_apart(tmp_path: Path) -> None:
    for answerer in (CATS, CATS._replace(artifact="onnx-int8"), CATS._replace(bundle="cd" * 32)):
        days, _ = book(tmp_path, answerer)
        days.add(answer(), NOON)
        days.add(answer(unknown=False, distance=0.5), NOON)
        days.write()
    ((_, entries),) = counted(tmp_path)
    assert [p.images for p in entries] == [1] * 6
    assert [p.distance is None for p in entries] == [True, False] * 3


def test_a_days_file_that_cannot_be_used_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "2026-07-01.json").write_text('{"version": 1')
    (tmp_path / "days" / "notes.json").write_text("not edgetl's")
    assert read_days(tmp_path)[1] == [
        f"'{tmp_path}/days/2026-07-01.json' is not well formed: Input data was truncated."
    ]
    days, said = book(tmp_path)
    days.add(answer(), NOON)
    days.write()
    assert counted(tmp_path) == [("2026-07-01", [profile([0.9], classes=(1, 0))])]
    assert (tmp_path / "days" / "2026-07-01.unreadable").read_text() == '{"version": 1'
    assert "set aside as '2026-07-01.unreadable'" in said[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "was written by a newer edgetl"),
        ({"date": "2026-07-02"}, "is the file of another day, 2026-07-02"),
        ({"entries": [{"bundle": DIGEST, "artifact": "a", "answers": {
            "images": 10**30, "classes": [10**30], "confidence": [10**30] + [0] * 17}}]}, "images"),
        ({"entries": [{}]}, "missing required field"),
        ({"entries": [{"bundle": DIGEST, "artifact": "a", "answers": {
            "images": 2, "classes": [1], "confidence": [1] + [0] * 17}}]}, "do not add up"),
    ],
)  # fmt: skip
def test_a_days_file_is_read_strictly(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    (tmp_path / "days").mkdir()
    day = {"version": 1, "date": "2026-07-01", "entries": [], **change}
    (tmp_path / "days" / "2026-07-01.json").write_text(json.dumps(day))
    days, problems = read_days(tmp_path)
    assert days == []
    assert problem in problems[0]


def test_counts_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    days, _ = book(tmp_path / "kept")
    (tmp_path / "kept").write_text("a file in the folder's place")
    days.add(answer(), NOON)
    with pytest.raises(EdgetlError, match="cannot be written"):
        days.write()
    (tmp_path / "kept").unlink()
    days.write()
    assert counted(tmp_path / "kept") == [("2026-07-01", [profile([0.9], classes=(1, 0))])]


def test_what_a_day_has_is_not_overwritten_while_it_cannot_be_read(tmp_path: Path) -> None:
    before, _ = book(tmp_path)
    before.add(answer(), NOON)
    before.write()
    file, elsewhere = tmp_path / "days" / "2026-07-01.json", tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.mkdir()  # reading it is an error that has nothing to do with its contents
    days, said = book(tmp_path)
    days.add(answer(), NOON)
    for _ in range(2):
        with pytest.raises(EdgetlError, match=r"2026-07-01\.json' cannot be read: Is a directory"):
            days.write()
    file.rmdir()
    elsewhere.rename(file)
    days.write()
    assert counted(tmp_path) == [("2026-07-01", [profile([0.9, 0.9], classes=(2, 0))])]
    assert said == []


def test_answers_of_many_threads_are_all_counted_while_the_book_is_written(tmp_path: Path) -> None:
    days, _ = book(tmp_path)

    def add() -> None:
        for _ in range(500):
            days.add(answer(), NOON)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        days.write()
    days.write()
    ((_, (entry,)),) = counted(tmp_path)
    assert entry.images == 2000
