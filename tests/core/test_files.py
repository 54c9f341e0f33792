import stat
from pathlib import Path

import pytest

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, make_folder, require_writable, write_text
from tests.making import inside


def test_a_file_takes_its_name_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_write(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert inside(tmp_path) == ["a.bin"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(target) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert target.read_bytes() == b"old"
    assert inside(tmp_path) == ["a.bin"]


def test_written_files_can_be_read_like_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_text(tmp_path / "written", "Grüße")
    assert (tmp_path / "written").read_bytes() == "Grüße".encode()
    mode = stat.S_IMODE((tmp_path / "written").stat().st_mode)
    assert mode == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_a_place_that_cannot_be_written_is_an_error_with_a_next_step(
    tmp_path: Path, parent: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / parent / "out.bin"
    reason = "No such file or directory" if parent == "missing" else "Not a directory"
    for attempt in (require_writable, lambda path: write_text(path, "x")):
        with pytest.raises(EdgetlError) as caught:
            attempt(target)
        assert str(caught.value) == f"'{target}' cannot be written: {reason}."
        assert (
            caught.value.hint == "choose another place with -o, or make room or permission there."
        )
    assert inside(tmp_path) == ["file"]


def test_finding_out_whether_a_place_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path / "out.bin")
    assert inside(tmp_path) == []


def test_a_folder_is_not_a_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError) as caught:
        require_writable(tmp_path)
    assert str(caught.value) == f"'{tmp_path}' is a folder."
    assert caught.value.hint == "name a file, e.g. model.edgetl"


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgetlError, match="cannot be written: Not a directory"):
        make_folder(tmp_path / "file" / "run")
