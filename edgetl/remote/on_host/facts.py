"""Print the facts of a machine that decide whether and how edgetl runs there, as JSON.

This file is sent to the other machine and run by its own Python: only the standard library, and
only what Python 3.6 knows, so that a Python that is too old can be named instead of failing.

Argument: the name of the environment to look for.
"""

import json
import os
import platform
import shutil
import struct
import sys
from pathlib import Path

_MOST_TEXT = 1 << 20


def text(path: Path) -> str:
    """The beginning of a file's text; "" if it cannot be read."""
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_TEXT)
    except OSError:
        return ""


def cache_folder() -> Path:
    """The folder of edgetl's cache, by the rule of edgetl.core.files."""
    if os.environ.get("EDGETL_CACHE"):
        return Path(os.environ["EDGETL_CACHE"]).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system that holds a folder, or will hold it."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(str(folder)).free


def can_make_environments() -> bool:
    """Whether this Python has what `python -m venv` needs; Debian has it in another package."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def environment(folder: Path) -> object:
    """What setup recorded of an environment; None if it did not finish."""
    try:
        return json.loads(text(folder / "environment.json"))
    except ValueError:
        return None


def main() -> None:
    """Print one JSON document."""
    folder = cache_folder() / "remote"
    libc, libc_version = platform.libc_ver()
    facts = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "can_make_environments": can_make_environments(),
        "kernel": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "libc": libc,
        "libc_version": libc_version,
        "folder": str(folder),
        "free_bytes": free_bytes(folder),
        "environment": environment(folder / sys.argv[1]),
        "cpuinfo": text(Path("/proc/cpuinfo")),
        "model": text(Path("/proc/device-tree/model")),
        "compatible": text(Path("/proc/device-tree/compatible")),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
