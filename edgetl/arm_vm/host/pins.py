"""What the emulated machine is made of: every package and wheel, with its version and sha256."""

import hashlib
import platform
from pathlib import Path

from edgetl.bundle.manifest import Sha256
from edgetl.core.schema import Frozen, from_json, read_document

PINS_FILE = Path(__file__).with_name("pins.json")
# Debian's names of the processors QEMU is taken for.
HOST_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Pinned(Frozen, kw_only=True, frozen=True):
    """A file by the name its publisher gives it, e.g. "libc6_2.36-9+deb12u14_arm64.deb"."""

    file: str
    sha256: Sha256


class Packages(Frozen, kw_only=True, frozen=True):
    """Debian packages of one architecture.

    Attributes:
        architecture: Debian's name, e.g. "arm64".
        wanted: what to ask for; apt finds what these need. "name-" leaves one out.
        files: those found when the pins were made.
    """

    architecture: str
    wanted: tuple[str, ...]
    files: tuple[Pinned, ...] = ()


class Wheels(Frozen, kw_only=True, frozen=True):
    """What is installed into one folder of the machine.

    Attributes:
        folder: its name under /opt, e.g. "site".
        wanted: requirements, each with a version.
        files: the wheels of these and of what they need.
    """

    folder: str
    wanted: tuple[str, ...]
    files: tuple[Pinned, ...] = ()


class Pins(Frozen, kw_only=True, frozen=True):
    """The contents of `pins.json`.

    Attributes:
        release: Debian's, e.g. "bookworm".
        userland: what runs in the machine.
        kernel: the machine's kernel; only its own package is taken, not what that needs.
        emulator: QEMU for the host.
        wheels: Python packages, folder by folder.
    """

    release: str
    userland: Packages
    kernel: Packages
    emulator: Packages
    wheels: tuple[Wheels, ...]


def load_pins(path: Path = PINS_FILE) -> Pins:
    """Read the pins. Raises SchemaError."""
    return from_json(read_document(path), Pins, where=f"'{path.name}'")


def host_architecture() -> str:
    """Debian's name of this machine's processor; the processor's own where Debian has none."""
    return HOST_ARCHITECTURES.get(platform.machine(), platform.machine())


def machine_key(pins_text: bytes, own_sources: bytes) -> str:
    """A name that changes with whatever goes into the machine: 16 hex digits.

    Args:
        pins_text: of `pins.json`.
        own_sources: what of edgetl is built into the machine.
    """
    digest = hashlib.sha256()
    for part in (pins_text, own_sources, host_architecture().encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
