"""Measure the time of each operator with the engine's own profiler."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgetl.benchmarking.latency import WARM_UP_CALLS
from edgetl.benchmarking.reports import KindTime, OperatorTime, Profile
from edgetl.runtime.engines.registry import ENGINES
from edgetl.runtime.engines.spec import Files, OperatorTotal

CALLS = 100


def profile(
    engine: str, files: Files, pixels: NDArray[np.uint8], *, threads: int, calls: int = CALLS
) -> Profile:
    """Run an artifact on the CPU with the engine's profiler on, which slows it down a little.

    Args:
        engine: its name; its library must be installed.
        files: the artifact's files, in the order in which the engine takes them.
        pixels: uint8 [1, H, W, 3].
        threads: how many the engine may use.
        calls: the number of profiled inferences, after a warm-up that is not profiled.

    Returns a profile without operators and with a note if the engine has no profiler.
    """
    spec = ENGINES[engine]
    if spec.profile is None:
        note = spec.profiler_note or f"engine '{engine}' has no profiler"
        return Profile(calls=0, operators=(), kinds=(), note=note)
    totals = spec.profile(files, pixels, threads=threads, warm_up=WARM_UP_CALLS, calls=calls)
    return summarise_operators(totals, calls)


def summarise_operators(spent: Mapping[str, OperatorTotal], calls: int) -> Profile:
    """Mean time and share of each operator over `calls` inferences, costliest first."""
    whole_ms = sum(total.total_ms for total in spent.values()) or 1.0
    operators = [
        OperatorTime(
            name=name,
            kind=total.kind,
            mean_ms=total.total_ms / calls,
            share=total.total_ms / whole_ms,
        )
        for name, total in spent.items()
    ]
    by_kind: dict[str, list[OperatorTime]] = defaultdict(list)
    for operator in operators:
        by_kind[operator.kind].append(operator)
    kinds = [
        KindTime(
            kind=kind,
            operators=len(members),
            mean_ms=sum(member.mean_ms for member in members),
            share=sum(member.share for member in members),
        )
        for kind, members in by_kind.items()
    ]
    return Profile(
        calls=calls,
        operators=tuple(sorted(operators, key=lambda o: -o.mean_ms)),
        kinds=tuple(sorted(kinds, key=lambda k: -k.mean_ms)),
    )
