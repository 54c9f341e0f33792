"""The emulated machine: QEMU, a kernel, a system disk, and a second disk with the job."""

import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetl.arm_vm.host.boards import Board
from edgetl.arm_vm.host.debian import tool
from edgetl.core.errors import EdgetlError

KERNEL, INITRD, SYSTEM, QEMU = "kernel", "initrd.gz", "system.img", "qemu"
START = "start.py"
# A machine that prints nothing for this long hangs: its jobs print a line after every picture.
_SILENCE_S = 900.0
_SPARE_BYTES = 16 * 2**20
_END = None


class MachineError(EdgetlError):
    """The emulated machine did not start, or did not end normally."""


def boot(
    machine: Path, board: Board, job: Path, *, counted: bool = True, writable: bool = False
) -> Iterator[str]:
    """Run `job/start.py` with Python on the emulated board; yields the lines it prints.

    Args:
        machine: the folder that `build_machine` made.
        board: the board to emulate.
        job: a folder that the machine sees as /job.
        counted: whether virtual time advances by one nanosecond per instruction, which is
            reproducible; else it follows the host's clock, which is faster.
        writable: whether the system disk keeps what is written to it.

    Raises MachineError if it cannot be started, hangs, or ends with an error.
    """
    with tempfile.TemporaryDirectory() as temporary:
        disk = Path(temporary) / "job.img"
        make_disk(job, disk)
        command = _command(machine, board, disk, counted=counted, writable=writable)
        with _running(command) as lines:
            yield from until_exit(lines)


def make_disk(folder: Path, image: Path, *, spare_bytes: int = _SPARE_BYTES) -> None:
    """Write a folder's files into an ext4 image, with some free space.

    Raises EdgetlError if `mke2fs` is missing or fails.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    # Room for partly filled blocks of 4 KiB, inodes, and ext4's tables, which grow with the size.
    content = sum(path.stat().st_size + 8192 for path in files)
    size_kib = (int(content * 1.1) + spare_bytes) // 1024
    command = [tool("mke2fs", package="e2fsprogs"), "-q", "-t", "ext4", "-O", "^has_journal"]
    command += ["-m", "0", "-d", str(folder), str(image), f"{size_kib}k"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["mke2fs printed no error"])[-1]
        raise EdgetlError(
            f"The emulated machine's disk cannot be made: {last}",
            hint="check that the temporary folder and edgetl's cache have free space.",
        )


def _command(
    machine: Path, board: Board, job_disk: Path, *, counted: bool, writable: bool
) -> list[str]:
    qemu = machine / QEMU
    # QEMU is started with the loader of its own libraries: the host's may be of another version.
    loader = next((qemu / "usr" / "lib").glob("*-linux-gnu/ld-linux-*.so.*"), None)
    if loader is None:
        raise MachineError(f"There is no QEMU in '{machine}'.", hint=_REBUILD)
    libraries = ":".join(str(path) for path in (qemu / "usr" / "lib").glob("*-linux-gnu"))
    program = qemu / "usr" / "bin" / "qemu-system-aarch64"
    command = [str(loader), "--library-path", libraries, str(program)]
    command += ["-L", str(qemu / "usr" / "share" / "qemu"), "-machine", "virt"]
    command += ["-cpu", board.processor, "-smp", "1", "-m", str(board.memory_mb)]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]
    command += ["-no-reboot", "-kernel", str(machine / KERNEL), "-initrd", str(machine / INITRD)]
    flag = " edgetl.writable" if writable else ""
    command += ["-append", f"console=ttyAMA0 quiet loglevel=1 panic=-1{flag}"]
    command += ["-icount", "shift=0,sleep=off"] if counted else []
    read_only = "off" if writable else "on"
    command += _disk("system", str(machine / SYSTEM), read_only)
    return command + _disk("job", str(job_disk), "off")


def _disk(name: str, image: str, read_only: str) -> list[str]:
    # A comma in a path would end the option; QEMU reads two commas as one.
    path = image.replace(",", ",,")
    drive = f"file={path},format=raw,if=none,id={name},readonly={read_only}"
    return ["-drive", drive, "-device", f"virtio-blk-device,drive={name},serial={name}"]


@contextmanager
def _running(command: list[str]) -> Iterator["queue.Queue[str | None]"]:
    """Start QEMU; gives a queue of its output lines, then None. Leaving the block kills QEMU."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise MachineError(f"QEMU cannot be started: {error}.", hint=_REBUILD) from error
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.rstrip("\r\n"))
        lines.put(_END)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        process.wait()
        reader.join()


def until_exit(lines: "queue.Queue[str | None]") -> Iterator[str]:
    """Yields a machine's output lines until its job has ended.

    Raises MachineError if the job fails, the machine ends too soon, or it prints nothing for 900 s.
    """
    last: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_SILENCE_S)
        except queue.Empty:
            raise MachineError(
                f"The emulated machine printed nothing for {_SILENCE_S:.0f} s, so it was ended.",
                hint="try again; on a busy host it may be too slow.",
            ) from None
        if line is _END:
            raise MachineError(_ended(last), hint=_REBUILD)
        if line.startswith("@exit "):
            if line != "@exit 0":
                raise MachineError(_ended(last))
            return
        last = [*last[-7:], line]
        yield line


_REBUILD = "delete the folder 'emulated' in edgetl's cache and try again."


def _ended(last: list[str]) -> str:
    printed = " / ".join(line for line in last if line.strip()) or "nothing"
    return f"The emulated machine ended before its job was done. Its last lines: {printed}"
