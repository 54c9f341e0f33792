"""`edgetl check` through the entry point."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.test_device_commands import expect_error
from tests.data.test_check import write_scenes
from tests.making import write_table


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of twenty, one picture of them under both labels, one file broken."""
    root = write_scenes(tmp_path / "photos")
    shutil.copy(root / "a" / "07.jpg", root / "b" / "copy.jpg")
    (root / "b" / "empty.jpg").touch()
    return root


def test_check_prints_a_summary_and_then_each_finding(edgetl, photos) -> None:
    answer = edgetl("check", photos, "--wide")
    assert answer.code == 0, answer.err
    assert answer.err.startswith("checking: 42/42 pictures")
    first, *rest = answer.out.splitlines()
    assert first.startswith(f"{photos}: 42 pictures in 2 classes, ")
    assert rest == [
        "short side 240 to 240 px, median 240 px",
        "",
        "class  pictures",
        "a            20",
        "b            21",
        "",
        "error: files that cannot be read as pictures (1)",
        "  b/empty.jpg: cannot be read as a picture: the file is empty.",
        "  to do: restore or remove them; training would skip them",
        "",
        "error: identical files with different labels (1)",
        "  a/07.jpg = b/copy.jpg: a, b",
        "  to do: decide which label is right and remove the others; a network cannot learn both",
    ]


def test_five_cases_are_shown_and_the_document_holds_all(edgetl, photos) -> None:
    for i in range(6):
        (photos / "a" / f"e{i}.jpg").touch()
    shown = edgetl("check", photos).out
    assert "error: files that cannot be read as pictures (7)" in shown
    assert shown.count("the file is empty") == 5
    assert "  and 2 more; --json lists them all" in shown.splitlines()
    document = json.loads(edgetl("check", photos, "--json").out)
    (broken, conflict) = document["findings"]
    assert (broken["kind"], broken["count"], len(broken["cases"])) == ("broken", 7, 7)
    assert conflict["cases"] == [{"files": ["a/07.jpg", "b/copy.jpg"], "detail": "a, b"}]
    assert document["classes"][1] == {"label": "b", "pictures": {"all": 21}}


def test_strict_prints_and_exits_with_3(edgetl, photos) -> None:
    answer = edgetl("check", photos, "--strict", "--json")
    assert answer.code == 3
    assert len(json.loads(answer.out)["findings"]) == 2
    assert f"Error: '{photos}' has 2 kinds of error." in answer.err.splitlines()


def test_strict_passes_clean_pictures(edgetl, photos) -> None:
    (photos / "b" / "copy.jpg").unlink()
    (photos / "b" / "empty.jpg").unlink()
    answer = edgetl("check", photos, "--strict")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "nothing found")


def test_a_table_and_a_validation_folder_are_looked_over(edgetl, photos, tmp_path) -> None:
    (photos / "b" / "empty.jpg").unlink()
    val = write_scenes(tmp_path / "val", 2, first=500)
    answer = edgetl("check", write_table(photos), "--val", val)
    assert answer.code == 0, answer.err
    assert "class  pictures  val" in answer.out.splitlines()
    assert "b            21    2" in answer.out.splitlines()
    assert "  a/07.jpg = b/copy.jpg: a, b" in answer.out.splitlines()


def test_what_cannot_be_looked_at_is_an_error(edgetl, tmp_path) -> None:
    expect_error(edgetl("check", tmp_path / "pets"), f"'{tmp_path / 'pets'}' does not exist.")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,cat\n")
    expect_error(
        edgetl("check", table),
        f"'{table}' line 2: '{tmp_path / 'a.png'}' is not a file.",
        f"correct the paths; they are relative to '{tmp_path}'.",
    )
