import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.core.errors import DataError, GateMissedError
from edgetl.core.progress import Silent
from edgetl.data.check import check_pictures, require_clean
from edgetl.data.dataset import read_source
from edgetl.data.findings import CheckReport, ClassCount
from edgetl.data.remarks import class_remarks
from tests.data.test_fingerprints import scene
from tests.making import draw


def write_scenes(
    root: Path, per_class: int = 20, first: int = 0, labels: Sequence[str] = ("a", "b")
) -> Path:
    """`root/<label>/00.jpg` and so on, all different, and with nothing to remark on."""
    for k, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for i in range(per_class):
            scene(first + 1000 * k + i).save(root / label / f"{i:02}.jpg")
    return root


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "data")


def look(root: Path, val: Path | None = None) -> CheckReport:
    return check_pictures(read_source(root, val), "data", Silent())


def found(report: CheckReport) -> dict[str, tuple[str, list[tuple[tuple[str, ...], str]]]]:
    """Kind -> (severity, [(files, detail)])."""
    return {
        f.kind: (f.severity, [(case.files, case.detail) for case in f.cases])
        for f in report.findings
    }


def test_clean_pictures_have_no_findings_and_are_counted(clean: Path) -> None:
    report = look(clean)
    assert report.findings == ()
    assert (report.pictures, report.broken, report.short_side_px) == (40, 0, (240, 240, 240))
    assert report.bytes == sum(path.stat().st_size for path in clean.rglob("*.jpg"))
    assert [(c.label, c.pictures) for c in report.classes] == [
        ("a", {"all": 20}),
        ("b", {"all": 20}),
    ]
    require_clean(report)


def test_broken_files_are_named_with_why(clean: Path) -> None:
    (clean / "a" / "empty.jpg").touch()
    (clean / "b" / "text.png").write_text("no picture")
    whole = (clean / "a" / "00.jpg").read_bytes()
    (clean / "b" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    report = look(clean)
    severity, cases = found(report)["broken"]
    assert severity == "error"
    assert cases[0] == (("a/empty.jpg",), "cannot be read as a picture: the file is empty.")
    assert cases[1][0] == ("b/half.jpg",)
    assert "truncated" in cases[1][1]
    assert cases[2] == (("b/text.png",), "cannot be read as a picture: no known picture format.")
    assert (report.pictures, report.broken, list(found(report))) == (43, 3, ["broken"])


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").touch()
    with pytest.raises(DataError, match="None of the 2 pictures in 'data' can be read"):
        look(tmp_path)


def test_one_file_under_two_labels_is_an_error(clean: Path) -> None:
    shutil.copy(clean / "a" / "03.jpg", clean / "b" / "copy.jpg")
    assert found(look(clean)) == {
        "conflicting-labels": ("error", [(("a/03.jpg", "b/copy.jpg"), "a, b")])
    }


def test_one_file_twice_in_a_class_is_a_warning(clean: Path) -> None:
    shutil.copy(clean / "a" / "03.jpg", clean / "a" / "copy.jpg")
    assert found(look(clean)) == {"duplicates": ("warning", [(("a/03.jpg", "a/copy.jpg"), "")])}


def test_a_picture_saved_again_is_a_near_duplicate(clean: Path) -> None:
    image = Image.open(clean / "a" / "03.jpg")
    image.resize((160, 120)).save(clean / "a" / "small.jpg", quality=60)
    image.save(clean / "b" / "again.png")
    cases = [(("a/03.jpg", "a/small.jpg", "b/again.png"), "a, a, b")]
    assert found(look(clean)) == {"near-conflicting-labels": ("warning", cases)}


def test_near_duplicates_matter_more_where_the_pictures_are_still_to_be_parted(
    clean: Path, tmp_path: Path
) -> None:
    image = Image.open(clean / "a" / "03.jpg")
    image.save(clean / "a" / "again.png")
    cases = [(("a/03.jpg", "a/again.png"), "")]
    assert found(look(clean)) == {"near-duplicates": ("warning", cases)}
    clean.rename(tmp_path / "train")
    (tmp_path / "parts").mkdir()
    (tmp_path / "train").rename(tmp_path / "parts" / "train")
    cases = [(("train/a/03.jpg", "train/a/again.png"), "")]
    assert found(look(tmp_path / "parts")) == {"near-duplicates": ("note", cases)}


def test_pictures_in_two_parts_are_leaks(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_scenes(root / "train")
    write_scenes(root / "test", 3, first=500)
    shutil.copy(root / "train/a/05.jpg", root / "test/a/copy.jpg")
    Image.open(root / "train/b/06.jpg").save(root / "test/b/again.png")
    report = look(root)
    assert found(report) == {
        "leak": ("error", [(("train/a/05.jpg", "test/a/copy.jpg"), "train, test")]),
        "near-leak": ("warning", [(("train/b/06.jpg", "test/b/again.png"), "train, test")]),
    }
    assert [c.pictures for c in report.classes] == [{"train": 20, "test": 4}] * 2


def test_a_validation_folder_of_its_own_can_leak_too(clean: Path, tmp_path: Path) -> None:
    other = write_scenes(tmp_path / "other", 2, first=500)
    shutil.copy(clean / "a" / "05.jpg", other / "a" / "copy.jpg")
    cases = [(("a/05.jpg", str(other / "a" / "copy.jpg")), "all, val")]
    assert found(look(clean, other)) == {"leak": ("error", cases)}


def test_blank_pictures_are_named_and_not_taken_for_each_other(clean: Path) -> None:
    Image.new("RGB", (200, 200), "white").save(clean / "a" / "white.png")
    Image.new("RGB", (200, 200), "black").save(clean / "b" / "black.png")
    cases = [(("a/white.png",), "contrast 0.0"), (("b/black.png",), "contrast 0.0")]
    assert found(look(clean)) == {"blank": ("warning", cases)}


def test_small_pictures_are_compared_as_files_only(clean: Path) -> None:
    tiny = scene(900).resize((63, 63))
    tiny.save(clean / "a" / "tiny.png")
    tiny.save(clean / "a" / "tiny.bmp")
    shutil.copy(clean / "a" / "tiny.png", clean / "b" / "copy.png")
    findings = found(look(clean))
    assert list(findings) == ["conflicting-labels", "small"]
    assert findings["conflicting-labels"][1] == [(("a/tiny.png", "b/copy.png"), "a, b")]


def test_odd_pictures_are_remarked(clean: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    scene(900).resize((63, 100)).save(clean / "a" / "small.png")
    scene(901).resize((720, 240)).save(clean / "a" / "wide.png")
    scene(902).save(clean / "a" / "turned.jpg", exif=exif)
    scene(903).convert("CMYK").save(clean / "a" / "cmyk.jpg")
    deep = np.asarray(scene(904).convert("L")).astype(np.uint16) * 256
    Image.fromarray(deep).save(clean / "a" / "deep.png")
    scene(905).convert("L").save(clean / "a" / "grey.png")
    assert found(look(clean)) == {
        "small": ("note", [(("a/small.png",), "63 x 100 px")]),
        "elongated": ("note", [(("a/wide.png",), "720 x 240 px")]),
        "turned": ("note", [(("a/turned.jpg",), "EXIF orientation 8")]),
        "unusual-pixels": ("note", [(("a/cmyk.jpg",), "CMYK"), (("a/deep.png",), "I;16")]),
    }
    require_clean(look(clean))


def counted(**sizes: int | tuple[int, ...]) -> list[ClassCount]:
    return [
        ClassCount(
            label=label,
            pictures=dict(zip(("train", "val", "test"), n, strict=False))
            if isinstance(n, tuple)
            else {"all": n},
        )
        for label, n in sizes.items()
    ]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (counted(a=40, b=40), []),
        (counted(a=40, b=19), [("warning", "'b' has 19")]),
        (counted(a=2, b=1), [("error", "'b' has 1"), ("warning", "'a' has 2")]),
        (counted(a=4, b=2), [("warning", "'a' has 4"), ("warning", "'b' has 2")]),
        (counted(a=(40, 1), b=(20, 0)), [("error", "'b' has no val picture")]),
        (counted(a=(40, 1), b=(0, 1)), [("error", "'b' has no train picture")]),
        (counted(a=(40, 1, 1), b=(40, 1, 0)), [("warning", "'b' has no test picture")]),
        (counted(a=40, b=0), [("error", "'b' has 0")]),
        (counted(a=60, b=20), [("note", "'a' has 60, 'b' 20: 3.0 times as many")]),
        (counted(a=59, b=20), []),
        (counted(a=30, b=300), [("warning", "'b' has 300, 'a' 30: 10.0 times as many")]),
    ],
)
def test_small_and_uneven_classes_are_told(classes, expected) -> None:
    findings = [finding for finding in class_remarks(classes) if finding.count]
    assert [(f.severity, case.detail) for f in findings for case in f.cases] == expected


def test_errors_come_before_warnings_and_notes(clean: Path) -> None:
    draw("slope", 0, 40, 40).save(clean / "a" / "small.png")
    shutil.copy(clean / "a" / "03.jpg", clean / "a" / "copy.jpg")
    shutil.copy(clean / "a" / "04.jpg", clean / "b" / "copy.jpg")
    report = look(clean)
    assert [finding.severity for finding in report.findings] == ["error", "warning", "note"]
    with pytest.raises(GateMissedError) as caught:
        require_clean(report)
    assert str(caught.value) == "'data' has 1 kind of error and 1 kind of warning."
