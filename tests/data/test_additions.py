"""Pictures of the field join the training part, and no other."""

from pathlib import Path

import msgspec
import pytest

from edgetl.collection.records import Review, read_contents
from edgetl.collection.store import PictureStore
from edgetl.core.errors import DataError
from edgetl.core.schema import to_json
from edgetl.data.additions import add_to_training
from edgetl.data.split import Parts, Split, describe, make_parts, resolve_added
from tests.collection.making import record
from tests.making import KINDS, draw, encoded, write_class_folders, write_table


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "data", 5)


@pytest.fixture
def parts(data: Path) -> Parts:
    return make_parts(data, Split(val=0.2, test=0.2), 0)


def collect(folder: Path, *labels: str | None, first: int = 100) -> Path:
    """Collected pictures that were reviewed: "" without, None as none of the classes."""
    store = PictureStore(folder, 10**7)
    for number, label in enumerate(labels):
        content = encoded(draw("checks", first + number), "PNG")
        written = record(content, "uncertain", number)
        if label != "":
            written = msgspec.structs.replace(written, review=Review(label=label, time="now"))
        assert store.add(content, written) == "kept"
    store.close()
    return folder


def test_reviewed_pictures_are_trained_on_and_never_tested_on(parts: Parts, tmp_path: Path) -> None:
    kept = collect(tmp_path / "kept", "checks", "slope", "", None, None, "slope")
    said: list[str] = []
    more = add_to_training(parts, [kept], said.append)
    assert (more.val, more.test, more.labels) == (parts.val, parts.test, parts.labels)
    new = [example for example in more.train if example not in parts.train]
    assert len(new) == 3
    assert all(example.path.parent == kept for example in new)
    assert sorted(KINDS[example.label] for example in new) == ["checks", "slope", "slope"]
    assert said == [
        f"{kept}: 3 pictures are added to the training part; left out: 1 not reviewed, "
        "2 none of the classes"
    ]
    assert more.train == sorted(more.train)


def test_what_is_in_any_part_already_is_left_out(parts: Parts, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    store = PictureStore(kept, 10**7)
    for number, part in enumerate((parts.train, parts.val, parts.test)):
        content = part[0].path.read_bytes()
        review = Review(label="stripes", time="now")
        store.add(content, msgspec.structs.replace(record(content, minute=number), review=review))
    store.close()
    collect(kept, "checks")
    said: list[str] = []
    more = add_to_training(parts, [kept], said.append)
    assert len(more.train) == len(parts.train) + 1
    assert said == [
        f"{kept}: 1 picture is added to the training part; left out: 3 that are there already"
    ]


def test_a_picture_in_two_places_is_added_once(parts: Parts, tmp_path: Path) -> None:
    first = collect(tmp_path / "a", "checks", "slope")
    second = collect(tmp_path / "b", "checks", "slope", "checks")
    more = add_to_training(parts, [first, second])
    assert [len(added.examples) for added in more.added] == [2, 1]


def test_two_labels_for_one_picture_are_an_error(parts: Parts, tmp_path: Path) -> None:
    first, second = collect(tmp_path / "a", "checks"), collect(tmp_path / "b", "slope")
    with pytest.raises(DataError, match=r"are the same picture, labelled 'slope' and 'checks'"):
        add_to_training(parts, [first, second])


def test_a_label_that_the_data_lacks_is_named(parts: Parts, tmp_path: Path) -> None:
    kept = collect(tmp_path / "kept", "checks", "wasps", "flies")
    with pytest.raises(DataError, match="does not have: 'flies', 'wasps'") as caught:
        add_to_training(parts, [kept])
    assert "make a class folder for it" in caught.value.hint


def test_class_folders_and_tables_can_be_added(parts: Parts, tmp_path: Path) -> None:
    folders = write_class_folders(tmp_path / "more", 2, KINDS[:2], first_seed=50)
    more = add_to_training(parts, [folders])
    assert len(more.train) == len(parts.train) + 4
    table = write_table(write_class_folders(tmp_path / "listed", 1, first_seed=70))
    assert len(add_to_training(parts, [folders, table]).train) == len(parts.train) + 7
    odd = write_class_folders(tmp_path / "odd", 1, ("checks", "stripes"), first_seed=90)
    (odd / "stripes").rename(odd / "wasps")
    with pytest.raises(DataError, match="does not know: 'wasps'"):
        add_to_training(parts, [odd])


@pytest.mark.parametrize(
    ("labels", "problem"),
    [(("", None), "No picture of .* has a label"), ((), "holds no collected pictures")],
)
def test_a_folder_without_labels_is_an_error(
    parts: Parts, tmp_path: Path, labels: tuple[str | None, ...], problem: str
) -> None:
    kept = collect(tmp_path / "kept", *labels)
    with pytest.raises(DataError, match=problem):
        add_to_training(parts, [kept])


def test_a_damaged_record_is_counted_and_left_out(parts: Parts, tmp_path: Path) -> None:
    kept = collect(tmp_path / "kept", "checks", "slope")
    read_contents(kept).pictures[0].record_path.write_text("{")
    said: list[str] = []
    assert len(add_to_training(parts, [kept], said.append).train) == len(parts.train) + 1
    assert said[0].endswith("left out: 1 damaged")


def test_splits_record_what_was_added_from_where(parts: Parts, data: Path, tmp_path: Path) -> None:
    kept = collect(tmp_path / "kept", "checks", "slope")
    more = add_to_training(parts, [kept])
    broken = more.added[0].examples[0].path
    split = describe(
        more._replace(train=[each for each in more.train if each.path != broken]), data, [broken]
    )
    assert split.added == {str(kept): (str(more.added[0].examples[1].path),)}
    assert str(broken) in split.skipped
    assert [each.examples for each in resolve_added(split)] == [more.added[0].examples[1:]]
    assert msgspec.json.decode(to_json(split), type=type(split)) == split
