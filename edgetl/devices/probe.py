"""Find out which device profile fits this machine, from /proc and the device tree."""

import platform
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.benchmarking.host import host_facts
from edgetl.bundle.manifest import Isa
from edgetl.devices.profile import DeviceProfile, EngineHere, ProbeReport
from edgetl.devices.profiles import load_devices
from edgetl.runtime.engines.registry import ENGINES, installed, installed_version

_POINTER_BITS = 8 * struct.calcsize("P")
_64_BIT: dict[str, Isa] = {
    "x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64",
}  # fmt: skip
# Kernel names under which a 32-bit Python can run ARMv7 code. A 64-bit ARM kernel reports aarch64
# to 32-bit programs, or armv8l in its compatibility personality (`setarch`). armv6 (the first
# Raspberry Pi and the Zero) is left out: it cannot run ARMv7 code.
_32_BIT = ("armv7l", "armv8l", "aarch64")


class MachineFacts(NamedTuple):
    """The facts by which a machine is recognised. A fact that cannot be read is empty.

    Attributes:
        kernel: the kernel's name of the processor, as `uname -m` prints it, e.g. "aarch64".
        isa: the instruction set that this Python runs in; None if edgetl does not know it.
        model: the board's name in the device tree, e.g. "Raspberry Pi 4 Model B Rev 1.5".
        compatible: the board's and chip's names in the device tree, e.g. "brcm,bcm2711".
        processors: (implementer, part) of each kind of ARM core, e.g. ("0x41", "0xd03").
        flags: the processor's features as /proc/cpuinfo names them, e.g. "avx2", "asimddp".
    """

    kernel: str
    isa: Isa | None
    model: str
    compatible: frozenset[str]
    processors: frozenset[tuple[str, str]]
    flags: frozenset[str]


class Recognised(NamedTuple):
    """What a machine was recognised as.

    Attributes:
        device: the profile that fits; None if there is none.
        reason: why, for the user.
        alike: names of known boards with the same cores, if the machine is not a known board.
    """

    device: DeviceProfile | None
    reason: str
    alike: tuple[str, ...] = ()


def read_machine(
    root: Path = Path("/"), *, kernel: str | None = None, bits: int = _POINTER_BITS
) -> MachineFacts:
    """Read a machine's facts from /proc.

    Args:
        root: the folder that contains `proc`; a copy of another machine's files in tests.
        kernel: the output of `uname -m`; None: this machine's.
        bits: the size of a pointer in the machine's Python, 32 or 64.
    """
    kernel = kernel or platform.machine()
    info = _text(root / "proc/cpuinfo")
    tree = root / "proc/device-tree"
    # Containers often hide the device tree; Raspberry Pi kernels repeat the model in cpuinfo.
    model = _text(tree / "model").strip("\0 \n") or next(iter(_values(info, "Model")), "")
    return MachineFacts(
        kernel=kernel,
        isa=_isa(kernel, bits),
        model=model,
        compatible=frozenset(filter(None, _text(tree / "compatible").split("\0"))),
        processors=frozenset(
            zip(_values(info, "CPU implementer"), _values(info, "CPU part"), strict=False)
        ),
        flags=frozenset(" ".join(_values(info, "flags") + _values(info, "Features")).split()),
    )


def recognise(machine: MachineFacts, profiles: Sequence[DeviceProfile]) -> Recognised:
    """Find the profile that fits a machine: that of a known board, else that of its family.

    A family is a profile for every machine of an instruction set and its flags, e.g. x86-avx2.
    """
    known = [(profile, why) for profile in profiles if (why := _board(machine, profile))]
    for profile, why in known:
        if profile.isa == machine.isa:
            return Recognised(profile, why)
    family = _family(machine, profiles)
    if known:
        profile, why = known[0]
        return Recognised(
            family,
            f"{why}, which fits {profile.name}, but this Python runs "
            f"{machine.isa or 'another instruction set'} instead of {profile.isa}",
        )
    if family and family.isa == "x86-64":
        flags = ", ".join(_matched_flags(machine, family))
        return Recognised(family, f"/proc/cpuinfo lists {flags}")
    if family:
        return Recognised(
            family,
            f"{_described(machine)} is not a known board; its instruction set is {family.isa}",
            _alike(machine, profiles),
        )
    return Recognised(None, _why_unknown(machine))


def probe() -> ProbeReport:
    """Recognise this machine, and find the engines that are installed in this Python."""
    device, reason, alike = recognise(read_machine(), load_devices())
    host = host_facts()
    return ProbeReport(
        device=device,
        reason=reason,
        alike=alike,
        threads=min(device.threads, host.cores) if device else None,
        engines=engines_here(device, python=".".join(host.python.split(".")[:2])),
        host=host,
    )


def engines_here(device: DeviceProfile | None, *, python: str) -> tuple[EngineHere, ...]:
    """List every engine: the device's first, best first, then all others.

    Args:
        device: the profile of this machine; None if there is none.
        python: major and minor version, e.g. "3.11".
    """
    advised = device.engines if device else ()
    wheels = device.wheels if device else {}
    order = dict.fromkeys([*advised, *ENGINES])
    newest = {engine: {str(key): version for key, version in wheels.get(engine, {}).items()}
              for engine in order}  # fmt: skip
    return tuple(
        EngineHere(
            engine=engine,
            advised=engine in advised,
            installed=installed(engine),
            version=installed_version(ENGINES[engine].library) if installed(engine) else None,
            newest=newest[engine].get(python),
        )
        for engine in order
    )


def _board(machine: MachineFacts, profile: DeviceProfile) -> str:
    """Why the machine is this board; "" if it is not, or if the profile does not name a board."""
    rules = profile.recognise
    # Whole words only: "Raspberry Pi 4" must not match a "Raspberry Pi 400".
    model = next((m for m in rules.models if f"{machine.model} ".startswith(f"{m} ")), None)
    entry = next((c for c in rules.compatible if c in machine.compatible), None)
    cores = {(core.implementer, core.part): core.core for core in rules.processors}
    if (model is None and entry is None) or (cores and not machine.processors <= set(cores)):
        return ""
    reason = f"its model is '{machine.model}'" if model else f"its device tree lists '{entry}'"
    names = sorted({cores[core] for core in machine.processors}) if cores else []
    return f"{reason}, its cores are {' and '.join(names)}" if names else reason


def _family(machine: MachineFacts, profiles: Sequence[DeviceProfile]) -> DeviceProfile | None:
    """The profile that fits and requires most flags, among those that do not name a board."""
    families = [
        profile
        for profile in profiles
        if not (profile.recognise.models or profile.recognise.compatible)
        and profile.isa == machine.isa
        and machine.flags.issuperset(profile.recognise.flags)
        and (not profile.recognise.any_flag or machine.flags & set(profile.recognise.any_flag))
    ]
    required = [len(p.recognise.flags) + bool(p.recognise.any_flag) for p in families]
    return families[required.index(max(required))] if families else None


def _alike(machine: MachineFacts, profiles: Sequence[DeviceProfile]) -> tuple[str, ...]:
    """The boards with exactly the machine's kinds of cores; int8 behaves the same on them."""
    return tuple(
        profile.name
        for profile in profiles
        if machine.processors
        and machine.processors == {(c.implementer, c.part) for c in profile.recognise.processors}
    )


def _matched_flags(machine: MachineFacts, family: DeviceProfile) -> list[str]:
    rules = family.recognise
    return [*rules.flags, *(flag for flag in rules.any_flag if flag in machine.flags)]


def _described(machine: MachineFacts) -> str:
    """The machine's model and cores, for a message."""
    cores = ", ".join("/".join(core) for core in sorted(machine.processors))
    name = f"'{machine.model}'" if machine.model else "a machine of unknown model"
    return f"{name} with cores {cores}" if cores else name


def _why_unknown(machine: MachineFacts) -> str:
    if machine.isa == "x86-64" and machine.flags:
        return "an x86-64 processor without avx2"
    if machine.isa == "x86-64":
        return "the x86-64 processor's instruction sets cannot be read: there is no /proc/cpuinfo"
    return f"there is no profile for '{machine.kernel}' processors"


def _isa(kernel: str, bits: int) -> Isa | None:
    if bits == 64:
        return _64_BIT.get(kernel.lower())
    return "armv7" if kernel.lower() in _32_BIT else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _values(text: str, name: str) -> list[str]:
    """The values of all `name : value` lines of /proc/cpuinfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    return [value.strip() for key, _, value in pairs if key.strip() == name]
