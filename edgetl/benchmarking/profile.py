"""Which operators an engine spends its time in, by the engine's own profiler."""

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
    """Run an artifact on the CPU with the engine's profiler on. That makes it a little slower.

    Args:
        engine: which one; its library must be here.
        files: the artifact's, in the order the engine takes them.
        pixels: uint8 [1, H, W, 3].
        threads: how many the engine may use.
        calls: inferences that are profiled, after a warm-up that is not.
    """
    spec = ENGINES[engine]
    if spec.profile is None:
        note = spec.profiler_note or f"engine '{engine}' has no profiler"
        return Profile(calls=0, operators=(), kinds=(), note=note)
    totals = spec.profile(files, pixels, threads=threads, warm_up=WARM_UP_CALLS, calls=calls)
    return summarise_operators(totals, calls)


def summarise_operators(spent: Mapping[str, OperatorTotal], calls: int) -> Profile:
    """Means and shares, costliest first, of what each operator took in `calls` inferences."""
    whole_ms = sum(one.total_ms for one in spent.values()) or 1.0
    operators = [
        OperatorTime(
            name=name,
            kind=one.kind,
            mean_ms=one.total_ms / calls,
            share=one.total_ms / whole_ms,
        )
        for name, one in spent.items()
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
