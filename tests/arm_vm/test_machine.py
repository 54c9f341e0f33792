import gzip
import queue
import shutil
import subprocess
from pathlib import Path

import pytest

from edgetl.arm_vm.host.boards import BOARDS
from edgetl.arm_vm.host.initrd import write_initrd
from edgetl.arm_vm.host.machine import MachineError, boot, make_disk, until_exit

needs_mke2fs = pytest.mark.skipif(
    not shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin"), reason="skipped: no mke2fs"
)


def lines(*said: str | None) -> "queue.Queue[str | None]":
    filled: queue.Queue[str | None] = queue.Queue()
    for line in said:
        filled.put(line)
    return filled


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of a cpio archive's members, read as Linux reads them."""
    content, place, found = gzip.decompress(archive), 0, {}
    while place < len(content):
        assert content[place : place + 6] == b"070701"
        fields = [int(content[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = content[place + 110 : place + 109 + name_size].decode()
        start = (place + 110 + name_size + 3) // 4 * 4
        found[name] = (mode, content[start : start + size])
        place = (start + size + 3) // 4 * 4
    return found


def test_the_first_root_holds_its_files_executable() -> None:
    found = unpacked(write_initrd({"init": b"#!/busybox sh\n", "busybox": b"\x7fELF!"}))
    assert found == {
        "busybox": (0o100755, b"\x7fELF!"),
        "init": (0o100755, b"#!/busybox sh\n"),
        "TRAILER!!!": (0, b""),
    }


def test_the_first_root_is_the_same_each_time() -> None:
    assert write_initrd({"a": b"1", "b": b"2"}) == write_initrd({"b": b"2", "a": b"1"})


@needs_mke2fs
def test_a_folder_of_many_small_files_fits_its_disk(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(3000):
        (folder / f"{i}.txt").write_text("x")
    make_disk(folder, tmp_path / "disk.img")
    checked = subprocess.run(
        ["/usr/sbin/e2fsck", "-fn", str(tmp_path / "disk.img")], capture_output=True, check=False
    )
    assert checked.returncode == 0


def test_lines_are_given_until_the_job_has_ended() -> None:
    given = until_exit(lines("@boot", "a", "", "b", "@exit 0", "after", None))
    assert list(given) == ["@boot", "a", "", "b"]


@pytest.mark.parametrize("end", ["@exit 1", None])
def test_a_job_that_fails_or_never_ends_is_an_error_with_its_last_lines(end: str | None) -> None:
    given = until_exit(lines("first", "Traceback", "ValueError: no", end))
    with pytest.raises(MachineError, match="first / Traceback / ValueError: no"):
        list(given)


@needs_mke2fs
def test_a_machine_without_an_emulator_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with pytest.raises(MachineError) as caught:
        list(boot(tmp_path / "machine", BOARDS["raspberry-pi-4"], tmp_path / "job"))
    assert str(caught.value) == f"There is no QEMU in '{tmp_path / 'machine'}'."
    assert "emulated" in caught.value.hint
