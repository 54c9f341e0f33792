"""Build the emulated machine in edgetl's cache; an interrupted build is removed and repeated."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetl.arm_vm.host import debian, wheels
from edgetl.arm_vm.host.boards import BOARDS
from edgetl.arm_vm.host.debian import Apt
from edgetl.arm_vm.host.initrd import write_initrd
from edgetl.arm_vm.host.machine import INITRD, KERNEL, QEMU, START, SYSTEM, boot, make_disk
from edgetl.arm_vm.host.pins import (
    PINS_FILE,
    Packages,
    Pinned,
    Pins,
    host_architecture,
    load_pins,
    machine_key,
)
from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder, make_folder, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import Frozen, to_json

INIT_FILE = Path(__file__).with_name("init.sh")
WARM_UP_FILE = Path(__file__).parents[1] / "guest" / "warm_up.py"
_RECORD = "machine.json"
_BUILDING = ".building-"
_MODULES = ("virtio_ring", "virtio", "virtio_mmio", "virtio_blk")
_SYSTEM_SPARE_BYTES = 192 * 2**20


class MachineRecord(Frozen, kw_only=True, frozen=True):
    """The files that a machine was built from.

    Attributes:
        files: every downloaded file and its sha256.
        moved_on: files that Debian offered instead of the pinned ones.
    """

    key: str
    files: tuple[Pinned, ...]
    moved_on: tuple[str, ...]


def build_machine(progress: Progress | None = None) -> Path:
    """Returns the folder of the emulated machine, which is built if it does not exist.

    Raises EdgetlError if a program, the network or Debian's sources are missing.
    """
    progress = progress or Silent()
    home = cache_folder().resolve() / "emulated"
    key = machine_key(PINS_FILE.read_bytes(), INIT_FILE.read_bytes() + WARM_UP_FILE.read_bytes())
    finished = home / f"machine-{key}"
    if finished.is_dir():
        return finished
    make_folder(home)
    with _alone(home / ".lock"):
        if not finished.is_dir():  # another process may have built it while this one waited
            for cut_off in home.glob(f"{_BUILDING}*"):
                shutil.rmtree(cut_off)
            _build(load_pins(), key, home, finished, progress)
    return finished


def _build(pins: Pins, key: str, home: Path, finished: Path, progress: Progress) -> None:
    downloads = home / "downloads"
    for program, owner in (("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("mke2fs", "e2fsprogs")):
        debian.tool(program, package=owner)
    progress.say("building the emulated ARM machine, once: about 180 MB of packages")
    with tempfile.TemporaryDirectory(dir=home, prefix=_BUILDING) as temporary:
        folder = Path(temporary) / "machine"
        root = Path(temporary) / "root"
        make_folder(folder)
        sources = Sources(pins, downloads, Path(temporary) / "apt", progress)
        userland = sources.packages(pins.userland)
        kernel = sources.kernel(pins.kernel)
        emulator = sources.packages(_for_this_host(pins.emulator))
        sources.wheels()
        progress.say("unpacking")
        _unpack_userland(pins, userland, downloads, root)
        _unpack_kernel(kernel, root, folder)
        for package in emulator:
            debian.unpack(package, folder / QEMU, _part_of_emulator)
        make_disk(root, folder / SYSTEM, spare_bytes=_SYSTEM_SPARE_BYTES)
        _warm_up(folder, Path(temporary) / "job", progress)
        record = MachineRecord(key=key, files=sources.files(), moved_on=sources.moved_on())
        write_text(folder / _RECORD, to_json(record))
        folder.replace(finished)


class Sources:
    """Fetches the machine's files: earlier downloads, Debian's packages, the registry's wheels."""

    def __init__(self, pins: Pins, downloads: Path, state: Path, progress: Progress) -> None:
        self._pins, self._downloads, self._state = pins, downloads, state
        self._progress = progress
        self._taken: list[Pinned] = []
        self._pinned: list[Pinned] = []

    def packages(self, packages: Packages) -> list[Path]:
        """Download and check packages and their dependencies; returns the .deb files' paths."""
        archives = self.archives(packages)
        files = list(packages.files)
        if not debian.pinned_and_here(packages, archives):
            apt = self.apt(packages)
            files = apt.resolve(packages.wanted)
            self._progress.say(f"fetching {len(files)} packages for {packages.architecture}")
            apt.download(packages.wanted, files)
        return self._take(packages, files, archives)

    def kernel(self, packages: Packages) -> Path:
        """Download and check the kernel's package without dependencies; returns its path."""
        archives = self.archives(packages)
        files = list(packages.files)
        if not debian.pinned_and_here(packages, archives):
            apt = self.apt(packages)
            files = [kernel_of(apt.resolve(packages.wanted))]
            self._progress.say(f"fetching {files[0].file}")
            apt.download_alone(files[0].file.split("_")[0], files[0])
        return self._take(packages, files, archives)[0]

    def wheels(self) -> None:
        """Download and check every pinned wheel."""
        pinned = [file for group in self._pins.wheels for file in group.files]
        with self._progress.stage("fetching wheels", len(pinned), "wheels") as shown:
            for file in pinned:
                wheels.fetch(file, self._downloads / "wheels")
                shown.advance(1, file.file.split("-")[0])
        self._taken += pinned
        self._pinned += pinned

    def apt(self, packages: Packages) -> Apt:
        """Returns apt with fresh package lists for the packages' architecture."""
        state = self._state / packages.architecture
        apt = Apt(packages.architecture, self._pins.release, state, self.archives(packages))
        if not (state / "updated").exists():
            self._progress.say(f"fetching Debian's package lists for {packages.architecture}")
            apt.update()
            (state / "updated").touch()
        return apt

    def archives(self, packages: Packages) -> Path:
        """The folder in which packages of this architecture are stored."""
        return self._downloads / f"debian-{packages.architecture}"

    def files(self) -> tuple[Pinned, ...]:
        """Every file that was used, with its sha256."""
        return tuple(self._taken)

    def moved_on(self) -> tuple[str, ...]:
        """The files that were used because Debian no longer offers the pinned ones."""
        known = set(self._pinned)
        return tuple(file.file for file in self._taken if file not in known)

    def _take(self, packages: Packages, files: list[Pinned], archives: Path) -> list[Path]:
        self._taken += files
        self._pinned += packages.files
        newer = sorted(file.file for file in set(files) - set(packages.files))
        if newer:
            self._progress.say(
                f"Debian has replaced {len(newer)} of the pinned packages, so instruction counts "
                f"may differ a little: {', '.join(newer[:5])}{', ...' if len(newer) > 5 else ''}"
            )
        return [archives / file.file for file in files]


def kernel_of(files: list[Pinned]) -> Pinned:
    """Find the kernel image among its metapackage's dependencies. Raises EdgetlError if missing."""
    for file in files:
        if file.file.startswith("linux-image-") and not file.file.startswith("linux-image-cloud"):
            return file
    raise EdgetlError(
        "Debian's sources have no cloud kernel for arm64.",
        hint="check this host's apt sources; see docs/arm64.md.",
    )


def _for_this_host(emulator: Packages) -> Packages:
    """The emulator's packages; without pinned files if those are for another host architecture."""
    architecture = host_architecture()
    if architecture == emulator.architecture:
        return emulator
    return Packages(architecture=architecture, wanted=emulator.wanted)


def _unpack_userland(pins: Pins, packages: list[Path], downloads: Path, root: Path) -> None:
    for name in ("usr/bin", "usr/sbin", "usr/lib", "proc", "sys", "dev", "tmp", "job", "opt"):
        make_folder(root / name)
    for name in ("bin", "sbin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        debian.unpack(package, root)
    for group in pins.wheels:
        wheels.unpack(group, downloads / "wheels", root)


def _unpack_kernel(package: Path, root: Path, folder: Path) -> None:
    taken = folder / ".kernel"
    modules = {f"{name}.ko" for name in _MODULES}
    debian.unpack(
        package,
        taken,
        lambda name: name.startswith("boot/vmlinuz") or name.rpartition("/")[2] in modules,
    )
    next((taken / "boot").glob("vmlinuz*")).replace(folder / KERNEL)
    files = {path.name: path.read_bytes() for path in taken.rglob("*.ko")}
    files["init"] = INIT_FILE.read_bytes()
    files["busybox"] = (root / "usr" / "bin" / "busybox").read_bytes()
    (folder / INITRD).write_bytes(write_initrd(files))
    shutil.rmtree(taken)


def _part_of_emulator(name: str) -> bool:
    """Whether the emulator needs a file: QEMU's program, libraries, and QEMU's shared files."""
    parts = name.split("/")
    if parts[:2] == ["usr", "bin"]:
        return parts[2:] == ["qemu-system-aarch64"]
    return parts[:2] in (["usr", "lib"], ["usr", "lib64"]) or name.startswith("usr/share/qemu")


def _warm_up(folder: Path, job: Path, progress: Progress) -> None:
    """Boot once, to test the machine and to store Python's compiled modules on its disk."""
    progress.say("first boot")
    make_folder(job)
    shutil.copyfile(WARM_UP_FILE, job / START)
    board = BOARDS["raspberry-pi-4"]
    for line in boot(folder, board, job, counted=False, writable=True):
        if line.startswith("@ready "):
            progress.say(line.removeprefix("@ready "))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock file, after waiting until no other process holds it."""
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
