"""The processor's features that decide whether an engine's answers are right."""

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
    """This machine's; None where edgetl knows nothing of it."""
    return _ISAS.get(platform.machine().lower())


class Machine(NamedTuple):
    """What of a machine decides whether an engine's answers are right there.

    Attributes:
        isa: its instruction set; None where edgetl does not know it.
        int8_may_saturate: its int8 kernels add pairs of products in 16 bits, which full-range
            weights overflow: an x86 processor without VNNI.
    """

    isa: Isa | None
    int8_may_saturate: bool


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(instruction_set(), int8_may_saturate())


def int8_may_saturate() -> bool:
    """Whether this is an x86 processor without VNNI, as far as the system tells."""
    return instruction_set() == "x86-64" and lacks_vnni(_text("/proc/cpuinfo"))


def may_lack_vnni() -> bool:
    """Whether this is an x86 processor that is not known to have VNNI."""
    return instruction_set() == "x86-64" and not _VNNI & _flags(_text("/proc/cpuinfo"))


def processor_features() -> str:
    """What this processor is and can do, as the system tells; another has another text."""
    telling = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    lines = {line for line in _text("/proc/cpuinfo").splitlines() if line.startswith(telling)}
    return " ".join([platform.machine(), *sorted(lines)])


def lacks_vnni(cpuinfo: str) -> bool:
    """Whether /proc/cpuinfo lists flags, and VNNI is not among them."""
    flags = _flags(cpuinfo)
    return bool(flags) and not _VNNI & flags


def _flags(cpuinfo: str) -> set[str]:
    lines = (line for line in cpuinfo.splitlines() if line.startswith("flags"))
    return set(next(lines, "").split())


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # no Linux: nothing is known
        return ""
