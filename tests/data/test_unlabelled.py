"""Pictures without labels: found at any depth, never those that are held out."""

from pathlib import Path

import pytest

from edgetl.core.errors import DataError
from edgetl.core.schema import from_json, to_json
from edgetl.data.split import Parts, Split, SplitFiles, describe, make_parts
from edgetl.data.unlabelled import add_unlabelled, content_names, resume_unlabelled
from tests.making import draw, write_class_folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "data", 5)


@pytest.fixture
def parts(data: Path) -> Parts:
    return make_parts(data, Split(val=0.2, test=0.2), 0)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """Four new pictures in folders of different depth, a hidden one and a note."""
    folder = tmp_path / "field"
    for number, name in enumerate(("a.png", "day/b.png", "day/2/c.png", "d.JPG", ".hidden/e.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw("slope", 50 + number).save(folder / name)
    (folder / "note.txt").write_text("no picture")
    return folder


def test_pictures_are_found_at_any_depth(parts: Parts, field: Path) -> None:
    said: list[str] = []
    more = add_unlabelled(parts, [field], said.append)
    (each,) = more.unlabelled
    names = [path.relative_to(field).as_posix() for path in each.pictures]
    assert names == ["a.png", "d.JPG", "day/2/c.png", "day/b.png"]
    assert more._replace(unlabelled=()) == parts
    assert said == [f"{field}: 4 pictures without labels"]


def test_training_and_repeated_pictures_are_left_out(parts: Parts, field: Path) -> None:
    (field / "again.png").write_bytes(parts.train[0].path.read_bytes())
    (field / "link.png").symlink_to(parts.train[1].path)
    (field / "copy.png").write_bytes((field / "a.png").read_bytes())
    said: list[str] = []
    one, two = add_unlabelled(parts, [field / "day", field], said.append).unlabelled
    assert [path.name for path in one.pictures] == ["c.png", "b.png"]
    assert [path.name for path in two.pictures] == ["a.png", "d.JPG"]
    assert said[1] == f"{field}: 2 pictures without labels; left out: 5 that are there already"


def test_held_out_pictures_are_refused(parts: Parts, field: Path, data: Path) -> None:
    for number, example in enumerate((*parts.val, *parts.test)):
        (field / f"leak{number}.png").write_bytes(example.path.read_bytes())
    with pytest.raises(DataError, match=r"6 pictures .*also validation or test pictures") as error:
        add_unlabelled(parts, [field])
    assert "leak0.png" in str(error.value)
    assert "leak3.png" not in str(error.value)
    assert "and 3 more" in str(error.value)
    assert "--unlabelled" in (error.value.hint or "")
    with pytest.raises(DataError, match="validation or test") as error:
        add_unlabelled(parts, [data], option="--adapt")
    assert "--adapt" in (error.value.hint or "")


def test_a_folder_must_be_one_and_hold_pictures(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        add_unlabelled(parts, [tmp_path / "missing"])
    with pytest.raises(DataError, match="is not a folder"):
        add_unlabelled(parts, [parts.train[0].path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        add_unlabelled(parts, [tmp_path / "empty"])
    draw("slope", 90).save(tmp_path / "empty/new.png")
    (tmp_path / "twice").mkdir()
    draw("slope", 90).save(tmp_path / "twice/same.png")
    with pytest.raises(DataError, match="is there already"):
        add_unlabelled(parts, [tmp_path / "empty", tmp_path / "twice"])


def test_a_resumed_run_goes_on_with_its_pictures(parts: Parts, field: Path, data: Path) -> None:
    more = add_unlabelled(parts, [field])
    bad = more.unlabelled[0].pictures[0]
    split = from_json(to_json(describe(more, data, [bad])).encode(), SplitFiles, where="splits")
    draw("slope", 90).save(field / "later.png")
    resumed = resume_unlabelled(parts, split, [field])
    assert resumed.unlabelled[0].pictures == more.unlabelled[0].pictures[1:]
    with pytest.raises(DataError, match="other folders of --unlabelled") as error:
        resume_unlabelled(parts, split, [])
    assert str(field) in (error.value.hint or "")
    (field / "day/b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png' .*no longer there"):
        resume_unlabelled(parts, split, [field])


def test_contents_are_named_without_reading_files_of_other_sizes(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"12"), ("c", b"34"), ("d", b"567")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "d").chmod(0)
    paths = [tmp_path / name for name in ("a", "b", "c", "d", "missing", "missing too")]
    names = content_names(paths)
    assert names[paths[0]] == names[paths[1]]
    assert len(set(names.values())) == 5
