from pathlib import Path

import pytest

from edgetl.core import tables
from edgetl.core.errors import DataError
from edgetl.data.table import TableRow, is_table, read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files that a table may name; reading it opens none of them."""
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, *lines: str) -> Path:
    file = folder / "labels.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def refusal(file: Path) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        read_table(file)
    return str(caught.value).removeprefix(f"'{file}' "), caught.value.hint


def test_rows_keep_their_line_and_count_from_the_tables_folder(folder: Path) -> None:
    file = write(folder, "path,label", "a.png,cat", "", "b.png, dog ")
    assert read_table(file) == [
        TableRow(2, folder / "a.png", "cat", None),
        TableRow(4, folder / "b.png", "dog", None),
    ]


def test_other_columns_are_ignored_and_columns_come_in_any_order(folder: Path) -> None:
    file = write(folder, "who,Label,Path", "me,cat,a.png")
    assert read_table(file) == [TableRow(2, folder / "a.png", "cat", None)]


def test_a_quoted_path_with_a_comma_and_a_byte_order_mark_are_read(folder: Path) -> None:
    (folder / "a, b.png").touch()
    file = folder / "labels.csv"
    file.write_bytes('path,label\r\n"a, b.png",Käse\r\n'.encode("utf-8-sig"))
    assert read_table(file) == [TableRow(2, folder / "a, b.png", "Käse", None)]


def test_absolute_paths_and_paths_upwards_are_allowed(folder: Path) -> None:
    (folder / "deep").mkdir()
    file = write(folder / "deep", "path,label", "../a.png,cat", f"{folder / 'b.png'},dog")
    assert [row.path for row in read_table(file)] == [
        folder / "deep" / "../a.png",
        folder / "b.png",
    ]


def test_splits_go_by_their_usual_names(folder: Path) -> None:
    file = write(
        folder, "path,label,split", "a.png,x,Train", "b.png,x,valid", "c.png,x,val", "d.png,x,test"
    )
    assert [row.part for row in read_table(file)] == ["train", "val", "val", "test"]


def test_a_picture_listed_twice_alike_counts_once(folder: Path) -> None:
    assert len(read_table(write(folder, "path,label", "a.png,x", "./a.png,x", "b.png,y"))) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["label", "cat"], "line 1: there is no column 'path'."),
        (["path;label", "a.png;cat"], "line 1: there is no column 'path'."),
        (["path", "a.png"], "line 1: there is no column 'label'."),
        (["path,label"], "lists no pictures."),
        (["path,label", "a.png,cat", "b.png,"], "line 3 has no label."),
        (["path,label", "a.png"], "line 2 has no label."),
        (["path,label", " ,cat"], "line 2 has no path."),
        (["path,label,split", "a.png,cat,"], "line 2 has no split."),
        (["path,label,split", "a.png,cat,tain"], "line 2: there is no split 'tain'."),
        (["path,label", 'a.png,"cat"s'], "line 2 is not CSV: ',' expected after '\"'."),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_line(
    folder: Path, lines: list[str], message: str
) -> None:
    assert refusal(write(folder, *lines))[0] == message


def test_a_misspelt_split_suggests_the_nearest(folder: Path) -> None:
    hint = refusal(write(folder, "path,label,split", "a.png,cat,tain"))[1]
    assert hint == "did you mean 'train'? The choices are: test, train, val."


def test_missing_files_are_counted_and_the_first_is_named(folder: Path) -> None:
    file = write(folder, "path,label", "a.png,x", "e.png,x")
    assert refusal(file) == (
        f"line 3: '{folder / 'e.png'}' is not a file.",
        f"correct the paths; they are relative to '{folder}'.",
    )
    file = write(folder, "path,label", "e.png,x", "a.png,x", "f.png,x", "g.png,y")
    assert refusal(file)[0] == (
        f"line 2: '{folder / 'e.png'}' is not a file, nor are 2 others in the table."
    )


def test_a_path_with_a_zero_byte_is_refused(folder: Path) -> None:
    with pytest.raises(DataError):
        read_table(write(folder, "path,label", "a\0.png,x"))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("./a.png,dog,train", "has label 'dog', but 'cat' in line 2."),
        ("a.png,cat,test", "has split 'test', but 'train' in line 2."),
    ],
)
def test_a_picture_with_two_answers_is_refused(folder: Path, second: str, message: str) -> None:
    file = write(folder, "path,label,split", "a.png,cat,train", second)
    assert refusal(file) == (
        f"line 3: '{folder / 'a.png'}' {message}",
        "remove one of the two lines.",
    )


def test_text_that_is_not_utf8_is_named_with_its_line(folder: Path) -> None:
    file = folder / "labels.csv"
    file.write_bytes(b"path,label\na.png,x\nb.png,K\xe4se\n")
    assert refusal(file) == ("line 3 is not UTF-8 text.", "save the table as UTF-8.")


def test_a_table_that_is_too_large_or_missing_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(folder / "none.csv")[0] == "does not exist."
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 1)
    assert refusal(write(folder, "path,label"))[0] == "is larger than 0 MB."


def test_a_folder_called_like_a_table_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pets.csv").mkdir()
    assert not is_table(tmp_path / "pets.csv")
    assert is_table(tmp_path / "PETS.CSV")
    assert not is_table(tmp_path / "pets")
