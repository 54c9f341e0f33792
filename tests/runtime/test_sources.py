from pathlib import Path

import pytest

from edgetl.core.errors import DataError
from edgetl.runtime.sources import find_sources, is_picture_name, pictures_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, one of them below, beside files that are none."""
    root = tmp_path / "photos"
    (root / "below").mkdir(parents=True)
    (root / ".thumbnails").mkdir()
    names = ("b.jpg", "a.PNG", "below/c.webp", "notes.txt", ".hidden.jpg", ".thumbnails/a.png")
    for name in names:
        (root / name).write_bytes(b"x")
    return root


def names(*given: object) -> list[str]:
    return [source.name for source in find_sources([str(name) for name in given])]


def test_a_folder_stands_for_its_pictures_in_order_and_hidden_ones_are_left_out(
    folder: Path,
) -> None:
    assert names(folder) == [str(folder / n) for n in ("a.PNG", "b.jpg", "below/c.webp")]


def test_pictures_below_a_hidden_folder_are_left_out_but_the_folder_itself_may_be_hidden(
    folder: Path,
) -> None:
    assert pictures_in(folder / ".thumbnails") == [folder / ".thumbnails" / "a.png"]


def test_a_glob_stands_for_its_matches_in_order(folder: Path) -> None:
    assert names(folder / "*") == [str(folder / n) for n in ("a.PNG", "b.jpg", "notes.txt")]
    assert names(folder / "**" / "*.webp") == [str(folder / "below/c.webp")]


def test_sources_keep_the_order_they_were_named_in(folder: Path) -> None:
    assert names(folder / "b.jpg", folder / "a.PNG") == [
        str(folder / "b.jpg"),
        str(folder / "a.PNG"),
    ]


def test_a_file_is_taken_whatever_it_is_called(folder: Path) -> None:
    (source,) = find_sources([str(folder / "notes.txt")])
    assert source.picture == folder / "notes.txt"


def test_a_file_with_glob_characters_in_its_name_is_itself(folder: Path) -> None:
    (folder / "[1].jpg").write_bytes(b"x")
    assert names(folder / "[1].jpg") == [str(folder / "[1].jpg")]


def test_a_missing_name_is_an_error_before_the_first_picture(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_sources([str(folder / "a.PNG"), str(folder / "none.jpg")])
    assert str(caught.value) == f"'{folder / 'none.jpg'}' does not exist."


def test_a_folder_without_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_sources([str(tmp_path)])
    assert str(caught.value) == f"'{tmp_path}' holds no pictures."


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", True), ("a.JPEG", True), ("a.tiff", True), (".a.jpg", False), ("a.txt", False),
     ("jpg", False)],
)  # fmt: skip
def test_pictures_are_told_by_their_names(name: str, expected: bool) -> None:
    assert is_picture_name(Path(name)) is expected
