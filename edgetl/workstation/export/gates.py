"""Limits that a new bundle must keep: accuracy loss, agreement, size, time and memory."""

from collections.abc import Sequence
from typing import NamedTuple

from edgetl.benchmarking.budgets import Budgets, over_budget
from edgetl.benchmarking.run import bench
from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact, Manifest
from edgetl.core.errors import EdgetlError
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.processor import instruction_set
from edgetl.runtime.selection import PREFERRED_SCHEMES

# What int8 may lose if the user sets no limit, in points of top-1: above it costlier steps of the
# int8 ladder are tried, but the export does not fail.
DEFAULT_DROP_PP = 0.5
# The share of the limit that int8 may use up on the trial pictures: the rest allows for chance.
TRIAL_SHARE = 0.5


class Gates(NamedTuple):
    """The limits of an export.

    Attributes:
        max_drop_pp: the most points of top-1 that an artifact may lose against torch; without
            labels, the largest share of pictures, in percent, that it may classify differently.
            None: no limit.
        budgets: limits of latency, size and memory.
    """

    max_drop_pp: float | None
    budgets: Budgets

    @property
    def trial_goal_pp(self) -> float:
        """The largest expected loss of int8 on the trial pictures that is accepted, in points."""
        budget = DEFAULT_DROP_PP if self.max_drop_pp is None else self.max_drop_pp
        return max(0.0, budget * TRIAL_SHARE)

    def require_measurable(self, target: DeviceProfile | None) -> None:
        """Raises EdgetlError if time or memory is limited and the target has another ISA."""
        if not self._of_this_machine or target is None or target.isa == instruction_set():
            return
        raise EdgetlError(
            f"Latency and memory are measured on this machine, which is no {target.name}.",
            hint="edgetl bench BUNDLE --max-latency MS --max-memory MB on the device; "
            "--max-size holds here, too.",
        )

    def over_drop(self, manifest: Manifest) -> list[Artifact]:
        """Return the artifacts that lost more than `max_drop_pp`."""
        if self.max_drop_pp is None:
            return []
        return [
            artifact
            for artifact in manifest.artifacts
            if artifact.measured and artifact.measured.loss_pp > self.max_drop_pp
        ]

    def describe_drop(self, manifest: Manifest, over: Sequence[Artifact]) -> str:
        """Describe which artifacts lost more than they may, and the layers that int8 costs most."""
        judged = "agreement" if manifest.provenance.torch_top1 is None else "top-1"
        lost = ", ".join(f"{a.name} lost {a.measured.loss_pp:.2f}" for a in over if a.measured)
        text = f"Over the budget of {self.max_drop_pp} points of {judged}: {lost}."
        worst = ", ".join(f"{s.activation} ({s.snr_db:.0f} dB)" for s in manifest.sensitivities[:3])
        return f"{text} Int8 costs most in {worst}." if worst else text

    def over_budgets(self, bundle: Bundle) -> list[str]:
        """Describe what exceeds its budget, and by how much.

        Size is checked for each artifact of the preferred scheme, int8 if there is one. Latency
        and memory are checked for the artifact and engine that `edgetl run` uses here, without
        decoding and resizing.
        """
        missed = _too_large(bundle.manifest, self.budgets.max_size_mb)
        if self._of_this_machine:
            rows = bench(bundle, engine="auto").rows
            missed += over_budget(rows, self.budgets._replace(max_size_mb=None))
        return [f"{miss}." for miss in missed]

    @property
    def _of_this_machine(self) -> bool:
        return (self.budgets.max_latency_ms, self.budgets.max_memory_mb) != (None, None)


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
