"""The packages and wheels of the emulated machine, each with its version and sha256."""

import hashlib
import platform
from pathlib import Path

from edgetl.bundle.manifest import Sha256
from edgetl.core.schema import Frozen, from_json, read_document

PINS_FILE = Path(__file__).with_name("pins.json")
# Debian's names of the host processors for which QEMU is available.
HOST_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Pinned(Frozen, kw_only=True, frozen=True):
    """A file under its publisher's name, e.g. "libc6_2.36-9+deb12u14_arm64.deb", and its sha256."""

    file: str
    sha256: Sha256


class Packages(Frozen, kw_only=True, frozen=True):
    """Debian packages of one architecture.

    Attributes:
        architecture: Debian's name, e.g. "arm64".
        wanted: the packages to install; apt adds their dependencies. "name-" leaves one out.
        files: these packages and their dependencies when the pins were made.
    """

    architecture: str
    wanted: tuple[str, ...]
    files: tuple[Pinned, ...] = ()


class Wheels(Frozen, kw_only=True, frozen=True):
    """The wheels that are installed into one folder of the machine.

    Attributes:
        folder: its name under /opt, e.g. "site".
        wanted: requirements, each with a version.
        files: the wheels of these and of their dependencies.
    """

    folder: str
    wanted: tuple[str, ...]
    files: tuple[Pinned, ...] = ()


class Pins(Frozen, kw_only=True, frozen=True):
    """The contents of `pins.json`.

    Attributes:
        release: Debian's release, e.g. "bookworm".
        userland: the packages of the machine's system.
        kernel: the machine's kernel; only its own package is used, without dependencies.
        emulator: QEMU for the host.
        wheels: Python packages, folder by folder.
    """

    release: str
    userland: Packages
    kernel: Packages
    emulator: Packages
    wheels: tuple[Wheels, ...]


def load_pins(path: Path = PINS_FILE) -> Pins:
    """Read the pins. Raises SchemaError if the file is missing or malformed."""
    return from_json(read_document(path), Pins, where=f"'{path.name}'")


def host_architecture() -> str:
    """Debian's name of this host's processor, or `platform.machine()` if it has none here."""
    return HOST_ARCHITECTURES.get(platform.machine(), platform.machine())


def machine_key(pins_text: bytes, own_sources: bytes) -> str:
    """A hash of everything that goes into the machine, 16 hex digits.

    Args:
        pins_text: the contents of `pins.json`.
        own_sources: edgetl's own files that are built into the machine.
    """
    digest = hashlib.sha256()
    for part in (pins_text, own_sources, host_architecture().encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
