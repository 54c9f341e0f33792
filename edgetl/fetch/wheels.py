"""Downloading the wheels of requirements for another machine; nothing of them is installed."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.fetch.registry import FetchError

# The oldest glibc that the names of wheels count from; wheels for older ones are "manylinux2014".
_FIRST_GLIBC = 17


class Platform(NamedTuple):
    """The machine that wheels are for.

    Attributes:
        machine: the architecture as wheels call it, e.g. "aarch64".
        python: major and minor version, e.g. (3, 11).
        glibc: its minor version, e.g. 36 for glibc 2.36.
    """

    machine: str
    python: tuple[int, int]
    glibc: int

    def tags(self) -> list[str]:
        """The platform tags of wheels that run there: pip has no tag for "this glibc or older"."""
        minors = range(_FIRST_GLIBC, self.glibc + 1)
        return [
            *(f"manylinux_2_{minor}_{self.machine}" for minor in minors),
            f"manylinux2014_{self.machine}",
        ]


def download_wheels(
    requirements: Sequence[str],
    folder: Path,
    platform: Platform,
    *,
    dependencies: bool = True,
    beside: Path | None = None,
    online: bool = True,
) -> None:
    """Download the wheels of requirements into a folder.

    Args:
        requirements: e.g. ["numpy==2.4.6"]; also paths of wheels, with or without extras.
        folder: where they are stored.
        platform: what they are for.
        dependencies: whether to download what the requirements need, too.
        beside: a folder of wheels that are used, too.
        online: whether the package registry is used.

    Raises FetchError if pip fails.
    """
    major, minor = platform.python
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--python-version", f"{major}.{minor}", "--implementation", "cp"]
    command += [f"--abi={abi}" for abi in (f"cp{major}{minor}", "abi3", "none")]
    command += [f"--platform={tag}" for tag in platform.tags()]
    command += [] if dependencies else ["--no-deps"]
    command += ["--find-links", str(beside)] if beside else []
    command += [] if online else ["--no-index"]
    result = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["pip printed no error"])[-1]
        raise FetchError(
            f"{', '.join(requirements)} for {platform.machine} cannot be downloaded from the "
            f"package registry: {last}",
            hint="check the network, and that this Python has pip; finished downloads are kept.",
        )
