import shutil
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from edgetl.core.errors import DataError, SchemaError
from edgetl.core.schema import to_json
from edgetl.data.folders import Example, read_class_folders
from edgetl.data.split import (
    Split,
    describe,
    make_parts,
    one_fold,
    pick_balanced,
    read_split,
    resolve,
    stratified,
)
from tests.making import write_class_folders

# Seven, twenty and a hundred pictures of three classes.
UNEVEN = [
    Example(Path(f"{label}/{i:03}"), label)
    for label, n in enumerate((7, 20, 100))
    for i in range(n)
]


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_split_is_disjoint_complete_and_stratified(fraction: float, seed: int) -> None:
    rest, taken = stratified(UNEVEN, fraction, seed)
    assert sorted(rest + taken) == sorted(UNEVEN)
    assert not set(rest) & set(taken)
    counts = Counter(example.label for example in taken)
    for label, size in enumerate((7, 20, 100)):
        wanted = round(fraction * size)
        assert counts[label] == (min(max(wanted, 1), size - 1) if fraction else 0)


def test_a_split_depends_on_its_seed_and_on_nothing_else() -> None:
    assert stratified(UNEVEN, 0.3, 5) == stratified(UNEVEN, 0.3, 5)
    assert stratified(UNEVEN, 0.3, 5) != stratified(UNEVEN, 0.3, 6)


def test_a_class_of_one_picture_keeps_it() -> None:
    lone = [Example(Path("a"), 0), Example(Path("b"), 1), Example(Path("c"), 1)]
    rest, taken = stratified(lone, 0.5, 0)
    assert Example(Path("a"), 0) in rest
    assert [example.label for example in taken] == [1]


def test_fractions_are_of_the_whole(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 20)
    parts = make_parts(root, Split(val=0.2, test=0.4), 0)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [24, 12, 24]
    assert sorted(parts.train + parts.val + parts.test) == sorted(read_class_folders(root).examples)
    for part in (parts.train, parts.val, parts.test):
        assert {example.label for example in part} == {0, 1, 2}


def test_no_test_fraction_means_no_test_part(tmp_path: Path) -> None:
    parts = make_parts(write_class_folders(tmp_path / "data", 4), Split(val=0.25, test=0.0), 0)
    assert (len(parts.train), len(parts.val), parts.test) == (9, 3, [])


def test_train_val_and_test_folders_keep_their_parts(tmp_path: Path) -> None:
    for name, count in (("train", 4), ("val", 2), ("test", 3)):
        write_class_folders(tmp_path / name, count)
    parts = make_parts(tmp_path, Split(), 0)
    assert parts.labels == ("checks", "slope", "stripes")
    for name, part, count in zip(("train", "val", "test"), parts[1:4], (4, 2, 3), strict=True):
        assert {example.path.parent.parent for example in part} == {tmp_path / name}
        assert Counter(example.label for example in part) == {0: count, 1: count, 2: count}


def test_without_a_val_folder_a_part_of_train_is_held_out(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", 8)
    write_class_folders(tmp_path / "test", 4)
    parts = make_parts(tmp_path, Split(val=0.25), 0)
    # A quarter of all 36 pictures, out of the 24 that are not for testing.
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [15, 9, 12]
    assert not set(parts.train) & set(parts.val)


def test_a_validation_folder_of_its_own_replaces_the_held_out_part(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    other = write_class_folders(tmp_path / "other", 2)
    parts = make_parts(root, Split(test=0.2), 0, other)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [12, 6, 3]
    assert {example.path.parent.parent for example in parts.val} == {other}


def test_a_validation_folder_that_lacks_a_class_names_it(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    other = write_class_folders(tmp_path / "other", 2, ("checks", "slope"))
    with pytest.raises(DataError) as caught:
        make_parts(root, Split(), 0, other)
    assert str(caught.value) == "Class 'stripes' has no validation picture."
    assert caught.value.hint == f"add pictures of the class to the validation part of '{other}'."


def test_by_default_a_fifth_is_tested_on_and_everything_else_trained_on(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 10)
    parts = make_parts(root, Split(), 0)
    assert Counter(example.label for example in parts.train) == {0: 8, 1: 8, 2: 8}
    assert Counter(example.label for example in parts.test) == {0: 2, 1: 2, 2: 2}
    assert parts.val == []


def test_without_a_validation_part_a_class_needs_no_picture_for_it(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    for path in sorted((root / "slope").iterdir())[1:]:
        path.unlink()
    parts = make_parts(root, Split(val=0.0), 0)
    assert (len(parts.train), parts.val, len(parts.test)) == (9, [], 2)
    assert {example.label for example in parts.train} == {0, 1, 2}


def test_a_validation_folder_must_hold_every_class_even_where_no_part_is_asked_for(
    tmp_path: Path,
) -> None:
    write_class_folders(tmp_path / "train", 4)
    write_class_folders(tmp_path / "val", 2, ("checks", "slope"))
    with pytest.raises(DataError) as caught:
        make_parts(tmp_path, Split(val=0.0), 0)
    assert str(caught.value) == "Class 'stripes' has no validation picture."


def folds_of(count: int, seed: int) -> list[tuple[list[Example], list[Example]]]:
    return [one_fold(UNEVEN, Split(folds=count, fold=i), seed) for i in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_picture_is_in_exactly_one_fold_and_folds_are_alike(count: int, seed: int) -> None:
    folds = folds_of(count, seed)
    assert sorted(example for _, taken in folds for example in taken) == sorted(UNEVEN)
    for rest, taken in folds:
        assert sorted(rest + taken) == sorted(UNEVEN)
    sizes = [len(taken) for _, taken in folds]
    assert max(sizes) - min(sizes) <= 1
    for label in range(3):
        of_class = [sum(example.label == label for example in taken) for _, taken in folds]
        assert max(of_class) - min(of_class) <= 1


def test_folds_depend_on_the_seed_and_on_nothing_else() -> None:
    assert folds_of(5, 3) == folds_of(5, 3)
    assert folds_of(5, 3) != folds_of(5, 4)


def test_a_fold_is_the_test_part_and_validation_is_taken_from_the_rest(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 10)
    # `test` is not used: each fold is a fifth.
    splits = [Split(val=0.2, test=0.5, folds=5, fold=i) for i in range(5)]
    all_parts = [make_parts(root, split, 0) for split in splits]
    everything = sorted(read_class_folders(root).examples)
    assert sorted(example for parts in all_parts for example in parts.test) == everything
    for parts in all_parts:
        assert sorted(parts.train + parts.val + parts.test) == everything
        for part, count in ((parts.train, 6), (parts.val, 2), (parts.test, 2)):
            assert Counter(e.label for e in part) == {0: count, 1: count, 2: count}


def test_folds_of_a_train_folder_leave_its_val_folder_as_it_is(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", 6)
    write_class_folders(tmp_path / "val", 2)
    parts = make_parts(tmp_path, Split(folds=3, fold=1), 0)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [12, 6, 6]
    assert {example.path.parent.parent.name for example in parts.val} == {"val"}
    assert {example.path.parent.parent.name for example in parts.test} == {"train"}


def test_folds_of_data_with_a_test_part_of_its_own_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_class_folders(tmp_path / name, 6)
    with pytest.raises(DataError) as caught:
        make_parts(tmp_path, Split(folds=3), 0)
    assert str(caught.value) == (f"'{tmp_path}' has a test part, so it cannot be split into folds.")
    assert caught.value.hint == (
        "fine-tune without folds, or put all pictures of a class into one folder."
    )


def test_a_class_with_fewer_pictures_than_folds_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    (root / "slope" / "00.png").unlink()
    with pytest.raises(DataError) as caught:
        make_parts(root, Split(folds=5), 0)
    assert str(caught.value) == "Class 'slope' has 4 pictures, too few for 5 folds."
    assert len(make_parts(root, Split(folds=4), 0).test) == 4


def test_a_class_too_small_to_part_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    for path in sorted((root / "slope").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError) as caught:
        make_parts(root, Split(val=0.1), 0)
    assert str(caught.value) == "Class 'slope' has no validation picture."
    assert caught.value.hint == (
        "give it at least 3 pictures, or train without a validation part: --set split.val=0"
    )


def test_three_pictures_of_each_class_are_enough(tmp_path: Path) -> None:
    parts = make_parts(write_class_folders(tmp_path / "data", 3), Split(val=0.1), 0)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [3, 3, 3]


def test_a_recorded_split_finds_the_same_pictures_again(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    parts = make_parts(root, Split(), 3)
    record = describe(parts, root, [root / "checks" / "broken.png"])
    (tmp_path / "splits.json").write_text(to_json(record))
    again = read_split(tmp_path / "splits.json")
    assert again == record
    assert again.skipped == ("checks/broken.png",)
    for name in ("train", "val", "test"):
        assert resolve(again, getattr(again, name)) == sorted(
            Example(example.path.resolve(), example.label) for example in getattr(parts, name)
        )


def test_a_recorded_split_names_files_below_its_root_and_others_in_full(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    other = write_class_folders(tmp_path / "other", 1)
    record = describe(make_parts(root, Split(), 0, other), root, [])
    assert all(name.startswith("checks/") for name in record.train["checks"])
    assert record.val["checks"] == (str((other / "checks" / "00.png").resolve()),)
    assert len(resolve(record, record.val)) == 3


def test_a_recorded_split_moves_with_its_root(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    record = describe(make_parts(root, Split(), 0), root, [])
    shutil.move(root, tmp_path / "moved")
    moved = msgspec.structs.replace(record, root=str(tmp_path / "moved"))
    assert len(resolve(moved, moved.train)) == len([n for ns in record.train.values() for n in ns])


def test_a_picture_that_went_missing_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    record = describe(make_parts(root, Split(), 0), root, [])
    gone = root.resolve() / record.test["slope"][0]
    gone.unlink()
    with pytest.raises(DataError) as caught:
        resolve(record, record.test)
    assert str(caught.value) == f"'{gone}' belongs to this run's data and is no longer there."
    assert caught.value.hint == "put the pictures back where they were, or fine-tune again."


def test_a_record_cannot_climb_out_of_its_root(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    (tmp_path / "secret.png").touch()
    record = describe(make_parts(root, Split(), 0), root, [])
    with pytest.raises(DataError, match="no longer there"):
        resolve(record, {"checks": ("../secret.png",)})


def test_a_record_of_an_unknown_class_is_refused(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 5)
    record = describe(make_parts(root, Split(), 0), root, [])
    with pytest.raises(DataError) as caught:
        resolve(record, {"zebra": ()})
    assert str(caught.value) == "splits.json names a class that is not a label: 'zebra'."


def test_a_damaged_record_is_a_schema_error(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"root": ')
    with pytest.raises(SchemaError, match=r"splits\.json' is not well formed"):
        read_split(tmp_path / "splits.json")


def test_calibration_pictures_are_spread_over_the_classes() -> None:
    picked = pick_balanced(UNEVEN, 30, seed=0)
    assert Counter(example.label for example in picked) == {0: 7, 1: 12, 2: 11}
    assert len(set(picked)) == 30


def test_calibration_pictures_are_seeded_and_never_more_than_there_are() -> None:
    assert pick_balanced(UNEVEN, 30, seed=1) == pick_balanced(UNEVEN, 30, seed=1)
    assert pick_balanced(UNEVEN, 30, seed=1) != pick_balanced(UNEVEN, 30, seed=2)
    assert sorted(pick_balanced(UNEVEN, 1000, seed=0)) == sorted(UNEVEN)
    assert pick_balanced([], 10, seed=0) == []
