"""A device profile: what is known of a board before anybody plugs it in."""

from typing import Annotated, Literal

import msgspec

from edgetl.benchmarking.reports import HostFacts
from edgetl.bundle.manifest import Isa, Name
from edgetl.core.schema import Frozen

PythonVersion = Literal["3.10", "3.11", "3.12", "3.13"]
Count = Annotated[int, msgspec.Meta(ge=1)]


class SourceDocument(Frozen, kw_only=True, frozen=True):
    """A document that says so."""

    title: str
    url: Annotated[str, msgspec.Meta(pattern="^https://")]


class ProcessorCore(Frozen, kw_only=True, frozen=True):
    """A kind of ARM core, as `CPU implementer` and `CPU part` of /proc/cpuinfo name it.

    Attributes:
        core: what people call it, e.g. "Cortex-A53".
    """

    core: str
    implementer: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{2}$")]
    part: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{3}$")]


class Recognise(Frozen, kw_only=True, frozen=True):
    """How a machine shows that it is this device.

    A board is named by its device tree: `models` or `compatible`, one of which must fit. A profile
    with neither stands for every machine of its instruction set that has the flags.

    Attributes:
        models: beginnings of /proc/device-tree/model, in whole words.
        compatible: entries of /proc/device-tree/compatible.
        processors: every core of the machine must be one of these, where it names its cores.
        flags: these must all be among `flags` or `Features` of /proc/cpuinfo.
        any_flag: and one of these; empty asks for none.
    """

    models: tuple[str, ...] = ()
    compatible: tuple[str, ...] = ()
    processors: tuple[ProcessorCore, ...] = ()
    flags: tuple[str, ...] = ()
    any_flag: tuple[str, ...] = ()


class DeviceProfile(Frozen, kw_only=True, frozen=True):
    """The contents of `devices/*.yaml`.

    Attributes:
        cores, memory_mb: of the model named in `description`.
        system: the operating system that `python` and `wheels` are told for.
        python: the Python to use there.
        engines: best first; `export --target` makes the formats these run.
        threads: a sensible default, at most `cores`.
        int8: whether int8 is faster than float there, or nobody has measured it.
        int8_advice: one or two sentences on int8 there.
        symmetric_activations: int8 activations must be signed with a zero point of 0 (TensorRT).
        reduced_range_weights: OpenVINO's int8 kernels overflow there unless weights have 7 bits.
        wheels: for each engine, the newest version that pip installs there, by Python.
        wheels_checked: the day on which the registry was asked for them, as "2026-11-24".
        not_measured: what is said here without having been tried.
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
        """Refuse what contradicts itself. msgspec turns the ValueError into one of its own."""
        if self.threads > self.cores:
            raise ValueError(f"threads is {self.threads}, but there are {self.cores} cores")


class EngineHere(Frozen, kw_only=True, frozen=True):
    """An engine on the machine that was probed.

    Attributes:
        advised: the profile lists it.
        installed: its library can be found.
        version: of what is installed; None where nothing is, or it does not say.
        newest: the newest version the profile knows for this Python; None where it knows none.
    """

    engine: Name
    advised: bool
    installed: bool
    version: str | None
    newest: str | None


class ProbeReport(Frozen, kw_only=True, frozen=True):
    """Which device this machine is.

    Attributes:
        device: its profile; None where nothing fits.
        reason: what the machine says of itself that led there.
        alike: boards with the same cores, where the machine is none of the known boards.
        threads: the profile's default, at most the cores that are here; None without a profile.
        engines: best first, then those the profile does not advise.
    """

    device: DeviceProfile | None
    reason: str
    alike: tuple[str, ...]
    threads: int | None
    engines: tuple[EngineHere, ...]
    host: HostFacts
