"""Labels as a table: written, filled in, and applied to the records."""

import csv
import io
from pathlib import Path

import pytest

from edgetl.collection.labels import BundleLabels, write_labels
from edgetl.collection.records import Reason, read_contents
from edgetl.collection.review_table import (
    NONE_OF_THESE,
    NOT_REVIEWED,
    apply_table,
    table_text,
)
from edgetl.collection.store import PictureStore
from edgetl.core.errors import DataError
from tests.collection.making import DIGEST, answer, record
from tests.conftest import Command

REASONS: tuple[Reason, ...] = ("unknown", "uncertain", "random")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three collected pictures, which need not be readable, of a bundle with three labels."""
    root = tmp_path / "kept"
    store = PictureStore(root, 10**6)
    for minute, reason in enumerate(REASONS):
        content = bytes([minute]) * 9
        store.add(content, record(content, reason, minute, answer(unknown=reason == "unknown")))
    store.close()
    labels = ("cat", "dog", "=1+1")
    write_labels(root, BundleLabels(version=1, digest=DIGEST, name="m.edgetl", labels=labels))
    return root


def names(folder: Path) -> list[str]:
    return [each.record.picture for each in read_contents(folder).pictures]


def reviewed(folder: Path) -> list[str | None]:
    """The label of each picture: "" without a review, None where it shows none of the classes."""
    reviews = [each.record.review for each in read_contents(folder).pictures]
    return ["" if review is None else review.label for review in reviews]


def write(folder: Path, *rows: str, header: str = "picture,label") -> Path:
    table = folder.parent / "labels.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return table


def test_a_table_has_a_row_for_each_picture_and_an_empty_label(folder: Path) -> None:
    text = table_text(read_contents(folder).pictures)
    assert text.startswith("\ufeffpicture,label,")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["picture"] for row in rows] == names(folder)
    assert [row["reason"] for row in rows] == list(REASONS)
    assert [(row["label"], row["predicted"]) for row in rows] == [
        ("", "unknown"), ("", "cat"), ("", "cat"),
    ]  # fmt: skip


def test_labels_are_written_into_the_records(folder: Path) -> None:
    first, second, third = names(folder)
    table = write(folder, f"{first},dog", f"{second},{NONE_OF_THESE}", f"{third},")
    assert apply_table(folder, table) == (1, 1, 0, 0, 0)
    assert reviewed(folder) == ["dog", None, ""]
    assert apply_table(folder, table) == (0, 0, 0, 2, 0)
    assert apply_table(folder, write(folder, f"{second},cat")) == (1, 0, 0, 0, 0)
    assert reviewed(folder) == ["dog", "cat", ""]
    back = write(folder, f"{second},{NOT_REVIEWED}", f"{third},{NOT_REVIEWED}")
    assert apply_table(folder, back) == (0, 0, 1, 1, 0)
    assert reviewed(folder) == ["dog", "", ""]


def test_what_is_written_can_be_applied_again(folder: Path) -> None:
    first, second, _ = names(folder)
    apply_table(folder, write(folder, f"{first},'=1+1", f"{second},{NONE_OF_THESE}"))
    assert reviewed(folder) == ["=1+1", None, ""]
    table = folder.parent / "again.csv"
    table.write_text(table_text(read_contents(folder).pictures), encoding="utf-8")
    assert f"{first},'=1+1," in table.read_text(encoding="utf-8")  # no formula
    assert apply_table(folder, table) == (0, 0, 0, 2, 0)


def test_a_spreadsheets_semicolons_order_and_case_of_columns_do_not_matter(folder: Path) -> None:
    name = names(folder)[0]
    table = write(folder, f"x;dog;{name}", ";;", header="note;Label;Picture")
    assert apply_table(folder, table).labelled == 1
    assert reviewed(folder) == ["dog", "", ""]


def test_unknown_pictures_are_listed_and_nothing_is_written(folder: Path) -> None:
    name = names(folder)[0]
    table = write(folder, f"{name},dog", "../secret.jpg,dog", "gone.jpg,cat")
    with pytest.raises(DataError, match=r"are not in .*: '../secret.jpg', 'gone.jpg'") as caught:
        apply_table(folder, table)
    assert "--skip-missing" in caught.value.hint
    assert reviewed(folder) == ["", "", ""]
    assert apply_table(folder, table, skip_missing=True) == (1, 0, 0, 0, 2)


def test_unknown_labels_are_listed_unless_they_are_new(folder: Path) -> None:
    first, second, _ = names(folder)
    table = write(folder, f"{first},wasp", f"{second},dgo")
    with pytest.raises(DataError, match="do not know: 'wasp', 'dgo'") as caught:
        apply_table(folder, table, ["fly"])
    assert "=1+1, cat, dog, fly" in caught.value.hint
    assert reviewed(folder) == ["", "", ""]
    assert apply_table(folder, table, ["wasp", "dgo"]).labelled == 2
    # From then on the folder knows it.
    assert apply_table(folder, write(folder, f"{second},wasp")).labelled == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,label\na,b\n", "line 1: there is no column 'picture'"),
        ("picture\na\n", "line 1: there is no column 'label'"),
        ("", "line 1: there is no column 'picture'"),
        ("picture,label\na,\n", "has no labels"),
        ("picture,label\na,cat\na,dog\n", "line 3: 'a' has label 'dog', but 'cat' before"),
        ('picture,label\na,"cat\n', "line 2 is not CSV"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(folder: Path, text: str, problem: str) -> None:
    table = folder.parent / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=problem):
        apply_table(folder, table)


def test_the_command_sums_up_writes_a_table_and_applies_it(edgetl: Command, folder: Path) -> None:
    answer = edgetl("review", folder)
    assert answer.code == 0
    assert [line.split() for line in answer.out.splitlines()[1:4]] == [
        ["unknown", "1", "0"], ["uncertain", "1", "0"], ["random", "1", "0"],
    ]  # fmt: skip
    table = folder.parent / "t.csv"
    assert edgetl("review", folder, "--csv", table).out.startswith(f"{table}: 3 pictures; fill in")
    first, second, _ = names(folder)
    applied = edgetl(
        "review", folder, "--apply", write(folder, f"{first},wasp", f"{second},cat"),
        "--new-label", "wasp",
    )  # fmt: skip
    assert applied.out == f"{folder}: 2 labelled, 0 none of the classes\n"
    assert "the likeliest class was right on 1 of 2 reviewed ones" in edgetl("review", folder).out
    assert edgetl("review", folder, "--csv", table).out.startswith(f"{table}: 1 pictures")
    assert edgetl("review", folder, "--new-label", "x").code == 2


def test_a_folder_without_records_is_named(edgetl: Command, tmp_path: Path) -> None:
    answer = edgetl("review", tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert f"Error: '{tmp_path}' holds no collected pictures." in answer.err
