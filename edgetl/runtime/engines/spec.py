"""What edgetl knows of an engine, and what a loaded one looks like."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import Isa, Scheme
from edgetl.core.errors import EngineError
from edgetl.runtime.processor import Machine

Files = tuple[bytes, ...]
"""An artifact's files, in the order in which its format lists their suffixes."""


class Engine(Protocol):
    """A loaded network.

    Attributes:
        version: the library's own version, e.g. "1.31.1".
        provider: what computes, as the library names it, e.g. "CPUExecutionProvider".
    """

    version: str
    provider: str

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 [1, classes] of one picture, uint8 [1, H, W, 3]."""
        ...


class Precision(Protocol):
    """How an artifact computes: the part of `Artifact` that an engine's limits depend on.

    Attributes:
        scheme: e.g. "int8".
        reduced_range: whether its int8 weights have 7 bits.
    """

    @property
    def scheme(self) -> Scheme: ...

    @property
    def reduced_range(self) -> bool: ...


class Int8Precision(NamedTuple):
    """The `Precision` of an int8 artifact that is still to be made."""

    reduced_range: bool
    scheme: Scheme = "int8"


class OperatorTotal(NamedTuple):
    """An operator's kind, as the engine names it, and its time in all profiled calls together."""

    kind: str
    total_ms: float


class Profiler(Protocol):
    """Runs a network on the CPU with the engine's own profiler on."""

    def __call__(
        self,
        files: Files,
        pixels: NDArray[np.uint8],
        *,
        threads: int,
        warm_up: int,
        calls: int,
    ) -> Mapping[str, OperatorTotal]:
        """Each operator's time, by its name.

        Args:
            files: the artifact's.
            pixels: uint8 [1, H, W, 3].
            threads: how many the engine may use.
            warm_up: calls that come first and do not count.
            calls: calls that count.
        """
        ...


def no_limits(machine: Machine, precision: Precision) -> str:
    """For an engine whose answers are right on every machine."""
    return ""


class EngineSpec(NamedTuple):
    """An engine: the object of an entry point of "edgetl.engines".

    The file that defines it must be importable where the library is not installed: `load` and
    `profile` import the library when they are called.

    Attributes:
        name: what users type, e.g. "litert".
        format: the name of the format it runs.
        library: the Python package that must be importable, e.g. "ai_edge_litert".
        requirement: what pip installs to get it, e.g. "edgetl[litert]".
        load: makes an engine of an artifact's files, a number of threads and a provider.
        providers: what it can compute on; the first is the default.
        rank: on instruction sets where it is one of the best, its place among them, from 1.
        limits: why its answers would be wrong on a machine; "" where nothing is known against
            them.
        profile: its profiler; None where the Python package has none.
        profiler_note: what to use instead where it has none.
    """

    name: str
    format: str
    library: str
    requirement: str
    load: Callable[[Files, int, str], Engine]
    providers: tuple[str, ...] = ("cpu",)
    rank: Mapping[Isa, int] = {}
    limits: Callable[[Machine, Precision], str] = no_limits
    profile: Profiler | None = None
    profiler_note: str = ""

    @property
    def install_hint(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.requirement}'"


def missing_provider(engine: str, provider: str, present: list[str]) -> EngineError:
    """The error for a provider that an engine does not have on this machine."""
    return EngineError(
        f"Engine '{engine}' has no '{provider}' here.",
        hint=f"what it has: {', '.join(present)}. Install the engine's build for {provider} and "
        f"its drivers, or run --engine {engine}.",
    )
