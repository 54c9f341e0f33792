"""The processor's features that decide whether an engine computes int8 correctly."""

import platform
from pathlib import Path
from typing import NamedTuple

from edgetl.bundle.manifest import Isa

_ISAS: dict[str, Isa] = {
    "x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64",
    "armv7l": "armv7",
}  # fmt: skip
_VNNI = {"avx512_vnni", "avx_vnni"}


def instruction_set() -> Isa | None:
    """This machine's instruction set; None if edgetl does not know it."""
    return _ISAS.get(platform.machine().lower())


class Machine(NamedTuple):
    """The properties of a machine that decide whether an engine computes correctly on it.

    Attributes:
        isa: its instruction set; None if edgetl does not know it.
        int8_may_saturate: whether int8 kernels may add pairs of products in 16 bits, which
            overflows with full-range weights. True for x86 processors without VNNI.
    """

    isa: Isa | None
    int8_may_saturate: bool


def this_machine() -> Machine:
    """The properties of the machine that runs this code."""
    return Machine(instruction_set(), int8_may_saturate())


def int8_may_saturate() -> bool:
    """Whether this is an x86 processor whose flags are known and lack VNNI."""
    return instruction_set() == "x86-64" and lacks_vnni(_text("/proc/cpuinfo"))


def may_lack_vnni() -> bool:
    """Whether this is an x86 processor that is not known to have VNNI."""
    return instruction_set() == "x86-64" and not _VNNI & _flags(_text("/proc/cpuinfo"))


def processor_features() -> str:
    """A text that identifies this processor's model and features, e.g. for a cache key."""
    prefixes = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    lines = {line for line in _text("/proc/cpuinfo").splitlines() if line.startswith(prefixes)}
    return " ".join([platform.machine(), *sorted(lines)])


def lacks_vnni(cpuinfo: str) -> bool:
    """Whether the text of /proc/cpuinfo lists flags, and VNNI is not among them."""
    flags = _flags(cpuinfo)
    return bool(flags) and not _VNNI & flags


def _flags(cpuinfo: str) -> set[str]:
    lines = (line for line in cpuinfo.splitlines() if line.startswith("flags"))
    return set(next(lines, "").split())


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # not Linux: nothing is known
        return ""
