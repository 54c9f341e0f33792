"""The specification of an engine, and the interface of a network loaded in it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.manifest import Isa, Scheme
from edgetl.core.errors import EngineError
from edgetl.runtime.processor import Machine

Files = tuple[bytes, ...]
"""The contents of an artifact's files, in the order in which its format lists their suffixes."""


class Session(Protocol):
    """A network loaded in an engine's library: what `EngineSpec.load` returns.

    Attributes:
        version: the library's own version, e.g. "1.31.1".
        provider: the library's name for what it computes on, e.g. "CPUExecutionProvider".
    """

    version: str
    provider: str

    def __call__(self, pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        """Run one picture, uint8 [1, H, W, 3].

        Returns the network's outputs, in any order: logits, float32 [1, outputs], and the feature
        map, float32 [1, h, w, channels], if the artifact has one.
        """
        ...


class Precision(Protocol):
    """The numeric precision of an artifact: the fields of `Artifact` that `limits` depends on.

    Attributes:
        scheme: e.g. "int8".
        reduced_range: whether its int8 weights have only 7 bits.
    """

    @property
    def scheme(self) -> Scheme: ...

    @property
    def reduced_range(self) -> bool: ...


class Int8Precision(NamedTuple):
    """The `Precision` of an int8 artifact that does not exist yet."""

    reduced_range: bool
    scheme: Scheme = "int8"


class OperatorTotal(NamedTuple):
    """An operator's type, as the engine names it, and its total time in all profiled calls."""

    kind: str
    total_ms: float


class Profiler(Protocol):
    """Runs a network on the CPU with the engine's own profiler."""

    def __call__(
        self,
        files: Files,
        pixels: NDArray[np.uint8],
        *,
        threads: int,
        warm_up: int,
        calls: int,
    ) -> Mapping[str, OperatorTotal]:
        """Measure each operator's time; returns the totals by the operators' names.

        Args:
            files: the artifact's files.
            pixels: uint8 [1, H, W, 3].
            threads: how many threads the engine may use.
            warm_up: number of calls before those that are measured.
            calls: number of calls that are measured.
        """
        ...


def no_limits(machine: Machine, precision: Precision) -> str:
    """The `limits` of an engine whose outputs are right on every machine: always ""."""
    return ""


class EngineSpec(NamedTuple):
    """An engine: the object of an entry point of "edgetl.engines".

    The file that defines it must be importable where the library is not installed: `load` and
    `profile` import the library when they are called.

    Attributes:
        name: what users type, e.g. "litert".
        format: the name of the format it runs.
        library: the Python package that must be importable, e.g. "ai_edge_litert".
        requirement: the pip requirement that installs it, e.g. "edgetl[litert]".
        load: takes an artifact's files, a number of threads and a provider; returns the network.
        providers: what it can compute on; the first is the default.
        rank: for each instruction set on which it is among the best engines, its rank, from 1.
        limits: takes a machine and a precision; returns why its outputs would be wrong there, or
            "" if no problem is known.
        profile: its profiler; None if the Python package has none.
        profiler_note: what to use instead if it has no profiler.
        here: imports the library and returns those of `providers` that this machine has; None:
            it has the first.
    """

    name: str
    format: str
    library: str
    requirement: str
    load: Callable[[Files, int, str], Session]
    providers: tuple[str, ...] = ("cpu",)
    rank: Mapping[Isa, int] = {}
    limits: Callable[[Machine, Precision], str] = no_limits
    profile: Profiler | None = None
    profiler_note: str = ""
    here: Callable[[], Sequence[str]] | None = None

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
