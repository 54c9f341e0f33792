"""What a new bundle may take: its files anywhere, its time and memory on this machine."""

from edgetl.bench.budgets import Budgets, over_budget
from edgetl.bench.run import bench
from edgetl.core.bundle import Bundle
from edgetl.core.device import DeviceProfile
from edgetl.core.errors import EdgetlError
from edgetl.core.manifest import Manifest
from edgetl.runtime.engine import PREFERRED_SCHEMES
from edgetl.runtime.processor import instruction_set


def require_measurable(budgets: Budgets, target: DeviceProfile | None) -> None:
    """Raises EdgetlError where time or memory is limited on a device that is not this machine."""
    if not _of_a_machine(budgets) or target is None or target.isa == instruction_set():
        return
    raise EdgetlError(
        f"Latency and memory are measured on this machine, which is no {target.name}.",
        hint="edgetl bench BUNDLE --max-latency MS --max-memory MB on the device; "
        "--max-size holds here, too.",
    )


def misses(bundle: Bundle, budgets: Budgets) -> list[str]:
    """What takes more than it may, and by how much.

    Size is of each artifact of the scheme that is preferred, int8 where there is one; latency and
    memory are of what `edgetl run` takes here, through pixels that are already made.
    """
    found = _too_large(bundle.manifest, budgets.max_size_mb)
    if _of_a_machine(budgets):
        rows = bench(bundle, engine="auto").rows
        found += over_budget(rows, budgets._replace(max_size_mb=None))
    return [f"{miss}." for miss in found]


def _of_a_machine(budgets: Budgets) -> bool:
    return budgets.max_latency_ms is not None or budgets.max_memory_mb is not None


def _too_large(manifest: Manifest, limit_mb: float | None) -> list[str]:
    if limit_mb is None:
        return []
    made = {artifact.scheme for artifact in manifest.artifacts}
    best = next(scheme for scheme in PREFERRED_SCHEMES if scheme in made)
    sizes = {a.name: a.bytes / 1e6 for a in manifest.artifacts if a.scheme == best}
    return [
        f"{name}: size {size:.2f} MB, {size - limit_mb:.2f} over --max-size {limit_mb:g}"
        for name, size in sizes.items()
        if size > limit_mb
    ]
