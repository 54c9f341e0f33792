"""Recognising the machine one is on by what it says of itself."""

import importlib.metadata
import platform
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.benchmarking.host import host_facts
from edgetl.bundle.manifest import Isa
from edgetl.devices.profile import DeviceProfile, EngineHere, ProbeReport
from edgetl.devices.profiles import load_devices
from edgetl.runtime.engines.registry import ENGINES, installed

_POINTER_BITS = 8 * struct.calcsize("P")
_64_BIT: dict[str, Isa] = {
    "x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64",
}  # fmt: skip
# A 64-bit ARM kernel under a 32-bit system calls itself aarch64, or armv8l where it is asked to
# pass for an older one. armv6 (the first Raspberry Pi and its Zero) is not among these.
_32_BIT = ("armv7l", "armv8l", "aarch64")


class MachineFacts(NamedTuple):
    """What a machine says of itself. Empty where it says nothing.

    Attributes:
        processors: (implementer, part) of each kind of ARM core, e.g. ("0x41", "0xd03").
        isa: what this Python's programs are made of; None where edgetl knows nothing of it.
    """

    kernel: str
    isa: Isa | None
    model: str
    compatible: frozenset[str]
    processors: frozenset[tuple[str, str]]
    flags: frozenset[str]


class Recognised(NamedTuple):
    """A profile or None, why, and the boards that have the same cores."""

    device: DeviceProfile | None
    reason: str
    alike: tuple[str, ...] = ()


def read_machine(
    root: Path = Path("/"), *, kernel: str | None = None, bits: int = _POINTER_BITS
) -> MachineFacts:
    """Read /proc under `root`.

    Args:
        root: the root of a file system, of this machine or of another.
        kernel: what `uname -m` says there; None asks this machine.
        bits: of a pointer in its programs, 32 or 64.
    """
    kernel = kernel or platform.machine()
    info = _text(root / "proc/cpuinfo")
    tree = root / "proc/device-tree"
    # A container often hides the device tree; Raspberry Pi's kernels repeat the model here.
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
    """Which of the profiles this machine is: a known board, else its family, else none."""
    known = [(profile, why) for profile in profiles if (why := _board(machine, profile))]
    for profile, why in known:
        if profile.isa == machine.isa:
            return Recognised(profile, why)
    family = _family(machine, profiles)
    if known:
        profile, why = known[0]
        return Recognised(
            family, f"{why}, as a {profile.name} has, but this Python is {machine.isa or 'another'}"
        )
    if family and family.isa == "x86-64":
        return Recognised(family, f"/proc/cpuinfo lists {', '.join(_asked(machine, family))}")
    if family:
        return Recognised(
            family,
            f"{_introduction(machine)} is none of the known boards, but {family.isa}",
            _alike(machine, profiles),
        )
    return Recognised(None, _why_unknown(machine))


def probe() -> ProbeReport:
    """Recognise this machine, and look which engines are installed in this Python."""
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
    """Every engine, the device's own first. `python` is like "3.11"."""
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
            version=_version(ENGINES[engine].library) if installed(engine) else None,
            newest=newest[engine].get(python),
        )
        for engine in order
    )


def _board(machine: MachineFacts, profile: DeviceProfile) -> str:
    """Why the machine is this board; empty where it is not, or where the profile is no board."""
    asked = profile.recognise
    # Half a word is another board: a "Raspberry Pi 4" is not a "Raspberry Pi 400".
    model = next((m for m in asked.models if f"{machine.model} ".startswith(f"{m} ")), None)
    entry = next((c for c in asked.compatible if c in machine.compatible), None)
    cores = {(core.implementer, core.part): core.core for core in asked.processors}
    if (model is None and entry is None) or (cores and not machine.processors <= set(cores)):
        return ""
    said = f"its model is '{machine.model}'" if model else f"its device tree lists '{entry}'"
    names = sorted({cores[core] for core in machine.processors}) if cores else []
    return f"{said}, its cores {' and '.join(names)}" if names else said


def _family(machine: MachineFacts, profiles: Sequence[DeviceProfile]) -> DeviceProfile | None:
    """Of the profiles that name no board, the one that asks most of what is here."""
    families = [
        profile
        for profile in profiles
        if not (profile.recognise.models or profile.recognise.compatible)
        and profile.isa == machine.isa
        and machine.flags.issuperset(profile.recognise.flags)
        and (not profile.recognise.any_flag or machine.flags & set(profile.recognise.any_flag))
    ]
    asked = [len(p.recognise.flags) + bool(p.recognise.any_flag) for p in families]
    return families[asked.index(max(asked))] if families else None


def _alike(machine: MachineFacts, profiles: Sequence[DeviceProfile]) -> tuple[str, ...]:
    """The boards with exactly these cores: what int8 does on one, it does on the other."""
    return tuple(
        profile.name
        for profile in profiles
        if machine.processors
        and machine.processors == {(c.implementer, c.part) for c in profile.recognise.processors}
    )


def _asked(machine: MachineFacts, family: DeviceProfile) -> list[str]:
    asked = family.recognise
    return [*asked.flags, *(flag for flag in asked.any_flag if flag in machine.flags)]


def _introduction(machine: MachineFacts) -> str:
    """The machine in its own words."""
    cores = ", ".join("/".join(core) for core in sorted(machine.processors))
    name = f"'{machine.model}'" if machine.model else "a machine that does not name its model"
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


def _version(library: str) -> str | None:
    """The installed version, also of a build for GPUs, which has another name."""
    package = library.replace("_", "-")
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _values(text: str, name: str) -> list[str]:
    """The value of every `name : value` line of /proc/cpuinfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    return [value.strip() for key, _, value in pairs if key.strip() == name]
