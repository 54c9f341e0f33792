"""The schema of device profiles (`devices/*.yaml`), and of the report of `edgetl probe`."""

from typing import Annotated, Literal

import msgspec

from edgetl.benchmarking.reports import HostFacts
from edgetl.bundle.manifest import Isa, Name
from edgetl.core.schema import Frozen

PythonVersion = Literal["3.10", "3.11", "3.12", "3.13"]
Count = Annotated[int, msgspec.Meta(ge=1)]


class SourceDocument(Frozen, kw_only=True, frozen=True):
    """A document that a profile's facts come from."""

    title: str
    url: Annotated[str, msgspec.Meta(pattern="^https://")]


class ProcessorCore(Frozen, kw_only=True, frozen=True):
    """A kind of ARM core, as `CPU implementer` and `CPU part` of /proc/cpuinfo name it.

    Attributes:
        core: the usual name, e.g. "Cortex-A53".
        implementer, part: lower-case hexadecimal, e.g. "0x41" and "0xd03".
    """

    core: str
    implementer: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{2}$")]
    part: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{3}$")]


class Recognise(Frozen, kw_only=True, frozen=True):
    """How a machine is recognised as this device.

    A board is recognised by its device tree: one entry of `models` or of `compatible` must match.
    A profile with neither is a family: it fits every machine of its instruction set that has the
    flags.

    Attributes:
        models: how /proc/device-tree/model may begin, in whole words.
        compatible: possible entries of /proc/device-tree/compatible.
        processors: if not empty, every core that /proc/cpuinfo lists must be one of these.
        flags: all of these must be among `flags` or `Features` of /proc/cpuinfo.
        any_flag: if not empty, at least one of these must be among them.
    """

    models: tuple[str, ...] = ()
    compatible: tuple[str, ...] = ()
    processors: tuple[ProcessorCore, ...] = ()
    flags: tuple[str, ...] = ()
    any_flag: tuple[str, ...] = ()


class DeviceProfile(Frozen, kw_only=True, frozen=True):
    """The contents of `devices/*.yaml`.

    Attributes:
        name: the device's name on the command line, e.g. "raspberry-pi-4".
        description: what it is, for people.
        processor: chip and cores, for people.
        isa: the instruction set of the Python that runs there.
        cores, memory_mb: of the model that `description` names.
        system: the operating system that `python` and `wheels` are for.
        python: the Python version to use.
        engines: best first; `export --target` writes the formats that these run.
        threads: the default number of threads, at most `cores`.
        int8: whether int8 is "faster" or "slower" than float; "measure" if nobody has measured it.
        int8_advice: one or two sentences on int8 on this device.
        symmetric_activations: int8 activations must be signed with a zero point of 0 (TensorRT).
        reduced_range_weights: int8 weights must have 7 bits, or OpenVINO's kernels overflow.
        wheels: for each engine and Python version, the newest engine version that pip installs.
        wheels_checked: the date on which `wheels` was looked up, e.g. "2026-11-24".
        not_measured: statements of this profile that were never tried on the device.
        recognise: how a machine is recognised as this device.
        sources: where the facts come from.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]*$")]
    description: str
    processor: str
    isa: Isa
    cores: Count
    memory_mb: Count
    system: str
    python: PythonVersion
    engines: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    threads: Count
    int8: Literal["faster", "slower", "measure"]
    int8_advice: str
    symmetric_activations: bool = False
    reduced_range_weights: bool = False
    wheels: dict[Name, dict[PythonVersion, str]] = {}
    wheels_checked: str = ""
    not_measured: tuple[str, ...] = ()
    recognise: Recognise = Recognise()
    sources: tuple[SourceDocument, ...] = ()

    def __post_init__(self) -> None:
        """Refuse more threads than cores; msgspec reports the ValueError as a ValidationError."""
        if self.threads > self.cores:
            raise ValueError(f"threads is {self.threads}, but there are {self.cores} cores")


class EngineHere(Frozen, kw_only=True, frozen=True):
    """An engine on the machine that was probed.

    Attributes:
        advised: whether the profile lists it.
        installed: whether its library is installed.
        version: the installed version; None if it is not installed or has no version.
        newest: the newest version that the profile lists for this Python; None if it lists none.
    """

    engine: Name
    advised: bool
    installed: bool
    version: str | None
    newest: str | None


class ProbeReport(Frozen, kw_only=True, frozen=True):
    """Which device this machine is, and which engines it has.

    Attributes:
        device: the profile that fits; None if none does.
        reason: the facts that the profile was chosen by.
        alike: names of known boards with the same cores, if the machine is not a known board.
        threads: the profile's default, at most this machine's cores; None without a profile.
        engines: those that the profile advises, best first, then all others.
        host: the machine's facts.
    """

    device: DeviceProfile | None
    reason: str
    alike: tuple[str, ...]
    threads: int | None
    engines: tuple[EngineHere, ...]
    host: HostFacts
