import shutil
from pathlib import Path

import pytest

from edgetl.core.errors import DataError
from edgetl.data.folders import part_folders, read_class_folders, read_labelled
from tests.making import draw, write_class_folders

LAYOUT = "put each class's pictures in a folder of its own: {0}/cat/*.jpg, {0}/dog/*.jpg"


def refusal(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_class_folders(root)
    return caught.value


def test_class_folders_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2, ("stripes", "checks"))
    labels, examples = read_class_folders(root)
    assert labels == ("checks", "stripes")
    assert examples == (
        (root / "checks/00.png", 0),
        (root / "checks/01.png", 0),
        (root / "stripes/00.png", 1),
        (root / "stripes/01.png", 1),
    )


def test_a_folder_that_does_not_exist_says_so(tmp_path: Path) -> None:
    error = refusal(tmp_path / "pets")
    assert str(error) == f"'{tmp_path / 'pets'}' does not exist."
    assert error.hint == LAYOUT.format(tmp_path / "pets")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").touch()
    assert str(refusal(tmp_path / "pets")) == f"'{tmp_path / 'pets'}' is not a folder."


@pytest.mark.parametrize(
    ("classes", "count"), [((), "0 class folders"), (("a",), "1 class folder")]
)
def test_fewer_than_two_classes_are_refused(
    tmp_path: Path, classes: tuple[str, ...], count: str
) -> None:
    for name in classes:
        (tmp_path / name).mkdir()
    error = refusal(tmp_path)
    assert str(error) == f"'{tmp_path}' has {count}; a classifier needs at least 2."
    assert error.hint == LAYOUT.format(tmp_path)


def test_a_class_without_pictures_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2)
    (root / "zebra").mkdir()
    (root / "zebra" / "notes.txt").write_text("none yet")
    error = refusal(root)
    assert str(error) == f"Class folder '{root / 'zebra'}' holds no pictures."
    assert error.hint == "put pictures into it or remove it."


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 2)
    before = read_class_folders(root)
    for folder in (".git", "_old", "checks/.thumbnails"):
        (root / folder).mkdir()
        draw("checks", 1).save(root / folder / "a.png")
    for name in (".DS_Store", ".hidden.png", "._00.png", "Thumbs.db", "notes.txt"):
        (root / "checks" / name).write_bytes(b"x")
    assert read_class_folders(root) == before


def test_pictures_in_deeper_folders_and_without_suffix_belong_to_the_class(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 1)
    (root / "checks" / "2024").mkdir()
    shutil.copy(root / "checks/00.png", root / "checks/2024/photo")
    checks = [example.path for example in read_class_folders(root).examples if example.label == 0]
    assert checks == [root / "checks/00.png", root / "checks/2024/photo"]


def test_pictures_are_numbered_by_the_models_labels_and_not_by_the_folders_order(
    tmp_path: Path,
) -> None:
    root = write_class_folders(tmp_path / "data", 1, ("checks", "stripes"))
    labels, examples = read_labelled(root, ("stripes", "slope", "checks"))
    assert labels == ("stripes", "slope", "checks")
    assert set(examples) == {(root / "checks/00.png", 2), (root / "stripes/00.png", 0)}


def test_a_class_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 1)
    with pytest.raises(DataError) as caught:
        read_labelled(root, ("checks", "stripes"))
    assert str(caught.value) == f"'{root}' has a class the model does not know: 'slope'."
    assert caught.value.hint == "the model's labels are: checks, stripes."


def test_labelled_data_without_classes_or_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_labelled(tmp_path, ("checks",))
    assert str(caught.value) == f"'{tmp_path}' has no classes."
    (tmp_path / "checks").mkdir()
    with pytest.raises(DataError) as caught:
        read_labelled(tmp_path, ("checks",))
    assert str(caught.value) == f"'{tmp_path}' holds no pictures."


def test_part_folders_are_told_by_their_names(tmp_path: Path) -> None:
    for name in ("Train", "validation", "test", "other"):
        (tmp_path / name).mkdir()
    assert part_folders(tmp_path) == {
        "train": tmp_path / "Train",
        "val": tmp_path / "validation",
        "test": tmp_path / "test",
    }


def test_without_a_train_folder_there_are_no_parts(tmp_path: Path) -> None:
    for name in ("test", "val"):
        (tmp_path / name).mkdir()
    assert part_folders(tmp_path) == {}
