"""The NVIDIA GPUs of this machine and their driver, without torch."""

import subprocess
from pathlib import Path

from edgetl.benchmarking.sysfs import field, read_text
from edgetl.core.schema import Frozen

_ASK = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free")
_FORMAT = "--format=csv,noheader,nounits"
_TIMEOUT_S = 20
_MIB = 1 << 20


class Gpu(Frozen, kw_only=True, frozen=True):
    """A GPU; what cannot be read is empty or None.

    Attributes:
        name: e.g. "NVIDIA H100 80GB HBM3".
        driver: the driver's version, e.g. "570.86.15".
        memory_bytes, free_bytes: its memory, and how much of it no program has taken.
    """

    name: str
    driver: str
    memory_bytes: int | None = None
    free_bytes: int | None = None


def nvidia_gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """List the NVIDIA GPUs, as nvidia-smi does, or else the driver's files in /proc.

    Args:
        root: the folder that contains `proc`; another one in tests.
    """
    try:
        asked = subprocess.run(
            [*_ASK, _FORMAT], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return _from_proc(root / "proc" / "driver" / "nvidia")
    return read_answer(asked.stdout)


def read_answer(text: str) -> tuple[Gpu, ...]:
    """Read nvidia-smi's lines "name, driver, MiB, free MiB"; some GPUs do not tell all of them."""
    lines = [[cell.strip() for cell in line.rsplit(",", 3)] for line in text.splitlines()]
    return tuple(
        Gpu(name=name, driver=driver, memory_bytes=_bytes(memory), free_bytes=_bytes(free))
        for name, driver, memory, free in (line for line in lines if len(line) == 4)
    )


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * _MIB if mebibytes.isdigit() else None


def _from_proc(folder: Path) -> tuple[Gpu, ...]:
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Fri Jan ..."
    words = field(read_text(folder / "version"), "NVRM version").split()
    driver = next((word for word in words if word.replace(".", "").isdigit()), "")
    files = sorted(folder.glob("gpus/*/information"))
    return tuple(Gpu(name=field(read_text(file), "Model"), driver=driver) for file in files)
