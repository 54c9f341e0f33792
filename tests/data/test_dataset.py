from collections import Counter
from pathlib import Path

import msgspec
import pytest

from edgetl.core.errors import DataError
from edgetl.data.dataset import read_examples, read_for_scoring, read_source
from edgetl.data.split import describe, make_parts, resolve
from edgetl.workstation.recipe import Split
from tests.making import KINDS, write_class_folders, write_table


def test_a_table_of_class_folders_is_read_as_the_folders_are(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 10)
    table = write_table(root)
    by_folders, by_table = read_source(root), read_source(table)
    assert by_table == by_folders
    assert make_parts(table, Split(), 3) == make_parts(root, Split(), 3)


def test_a_tables_splits_are_kept(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 6)
    table = write_table(root, parts=("train", "train", "train", "val", "test", "test"))
    parts = make_parts(table, Split(), 0)
    assert [Counter(e.label for e in part) for part in parts[1:4]] == [
        {0: 3, 1: 3, 2: 3},
        {0: 1, 1: 1, 2: 1},
        {0: 2, 1: 2, 2: 2},
    ]
    assert {e.path.name for e in parts.test} == {"04.png", "05.png"}


def test_without_val_rows_a_part_of_train_is_held_out(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 8)
    table = write_table(root, parts=("test", *["train"] * 7))
    assert [len(part) for part in make_parts(table, Split(val=0.1), 0)[1:4]] == [18, 3, 3]
    assert [len(part) for part in make_parts(table, Split(), 0)[1:4]] == [21, 0, 3]


def test_a_validation_table_replaces_the_val_rows(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 4)
    other = write_class_folders(tmp_path / "other", 2)
    table = write_table(root, parts=("train", "train", "val", "test"))
    parts = make_parts(table, Split(), 0, write_table(other))
    assert {e.path.parent.parent for e in parts.val} == {other}
    assert [len(part) for part in parts[1:4]] == [6, 6, 3]


def test_a_validation_folder_replaces_even_a_val_folder_that_would_be_refused(
    tmp_path: Path,
) -> None:
    write_class_folders(tmp_path / "data" / "train", 4)
    write_class_folders(tmp_path / "data" / "val", 1, ("checks",))
    (tmp_path / "data" / "val" / "unknown").mkdir()
    other = write_class_folders(tmp_path / "other", 2)
    assert len(make_parts(tmp_path / "data", Split(), 0, other).val) == 6


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2, ("checks",))
    with pytest.raises(DataError) as caught:
        read_source(write_table(root))
    assert str(caught.value) == (
        f"'{root / 'labels.csv'}' has 1 class, 'checks'; a classifier needs at least 2."
    )


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2)
    with pytest.raises(DataError) as caught:
        read_source(write_table(root, parts=("val", "test")))
    assert str(caught.value) == f"'{root / 'labels.csv'}' has no row of split 'train'."


def test_a_class_the_model_does_not_know_is_named_with_its_line(tmp_path: Path) -> None:
    table = write_table(write_class_folders(tmp_path / "data", 2))
    with pytest.raises(DataError) as caught:
        read_examples(table, ("checks", "stripes"))
    assert str(caught.value) == f"'{table}' line 4: the model does not know the class 'slope'."
    assert caught.value.hint == "the model's labels are: checks, stripes."


def scored(data: Path) -> list[tuple[str, int]]:
    return [(e.path.name, e.label) for e in read_for_scoring(data, KINDS)]


def test_everything_is_scored_where_no_parts_are_given(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2)
    everything = [(f"0{i}.png", label) for label in range(3) for i in range(2)]
    assert scored(root) == scored(write_table(root)) == everything


def test_of_a_tables_parts_test_is_scored_or_else_val(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 3)
    three = write_table(root, parts=("train", "val", "test"))
    assert scored(three) == [("02.png", label) for label in range(3)]
    two = write_table(root, parts=("train", "val", "train"))
    assert scored(two) == [("01.png", label) for label in range(3)]


def test_of_part_folders_test_is_scored_or_else_val(tmp_path: Path) -> None:
    for name, count in (("train", 3), ("val", 2), ("test", 1)):
        write_class_folders(tmp_path / name, count)
    assert [e.path.parent.parent.name for e in read_for_scoring(tmp_path, KINDS)] == ["test"] * 3
    (tmp_path / "test").rename(tmp_path / "_test")
    assert [e.path.parent.parent.name for e in read_for_scoring(tmp_path, KINDS)] == ["val"] * 6


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_class_folders(tmp_path / "data", 1, ("checks",))
    for name in ("train", "test"):
        (tmp_path / "data" / "checks").rename(tmp_path / "data" / name)
        write_class_folders(tmp_path / "data", 1, ("checks",))
    scored = read_for_scoring(tmp_path / "data", ("checks", "test", "train"))
    assert [e.label for e in scored] == [0, 1, 2]


def test_a_tables_split_is_recorded_below_its_folder_and_moves_with_it(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    outside = write_class_folders(tmp_path / "other", 1)
    table = write_table(root)
    with table.open("a") as file:
        file.write("../other/slope/00.png,slope\n")
    parts = make_parts(table, Split(), 0)
    record = describe(parts, read_source(table).base, [])
    assert record.root == str(root)
    named = {name for part in (record.train, record.val, record.test) for name in part["slope"]}
    assert named == {f"slope/{i:02}.png" for i in range(5)} | {str(outside / "slope/00.png")}
    root.rename(tmp_path / "moved")
    moved = msgspec.structs.replace(record, root=str(tmp_path / "moved"))
    assert len(resolve(moved, moved.train)) == len(parts.train)
