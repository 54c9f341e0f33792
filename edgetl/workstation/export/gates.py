"""What a new bundle may lose and take: accuracy, agreement, size, time and memory."""

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

# What int8 may lose where the user names no budget, in points of top-1: above it costlier steps of
# the int8 ladder are tried, and nothing fails.
DEFAULT_DROP_PP = 0.5
# The part of a budget that int8 may use up where it is tried: the rest is for chance.
TRIAL_SHARE = 0.5


class Gates(NamedTuple):
    """What an export is held to.

    Attributes:
        max_drop_pp: the most points of top-1 that an artifact may lose against torch; without
            labels the largest share of pictures, in percent, that it may answer otherwise. None:
            any.
        budgets: what it may take.
    """

    max_drop_pp: float | None
    budgets: Budgets

    @property
    def trial_goal_pp(self) -> float:
        """The most that int8 may be expected to lose on the trial pictures, in points."""
        budget = DEFAULT_DROP_PP if self.max_drop_pp is None else self.max_drop_pp
        return max(0.0, budget * TRIAL_SHARE)

    def require_measurable(self, target: DeviceProfile | None) -> None:
        """Raises EdgetlError where time or memory is limited on a device that is not this one."""
        if not self._of_this_machine or target is None or target.isa == instruction_set():
            return
        raise EdgetlError(
            f"Latency and memory are measured on this machine, which is no {target.name}.",
            hint="edgetl bench BUNDLE --max-latency MS --max-memory MB on the device; "
            "--max-size holds here, too.",
        )

    def over_drop(self, manifest: Manifest) -> list[Artifact]:
        """The artifacts that lost more than they may."""
        if self.max_drop_pp is None:
            return []
        return [
            artifact
            for artifact in manifest.artifacts
            if artifact.measured and artifact.measured.loss_pp > self.max_drop_pp
        ]

    def describe_drop(self, manifest: Manifest, over: Sequence[Artifact]) -> str:
        """What lost more than it may, and what int8 costs most, in words."""
        judged = "agreement" if manifest.provenance.torch_top1 is None else "top-1"
        lost = ", ".join(f"{a.name} lost {a.measured.loss_pp:.2f}" for a in over if a.measured)
        text = f"Over the budget of {self.max_drop_pp} points of {judged}: {lost}."
        worst = ", ".join(f"{s.activation} ({s.snr_db:.0f} dB)" for s in manifest.sensitivities[:3])
        return f"{text} Int8 costs most in {worst}." if worst else text

    def over_budgets(self, bundle: Bundle) -> list[str]:
        """What takes more than it may, and by how much.

        Size is of each artifact of the preferred scheme, int8 where there is one; latency and
        memory are of what `edgetl run` takes here, with pixels that are already made.
        """
        found = _too_large(bundle.manifest, self.budgets.max_size_mb)
        if self._of_this_machine:
            rows = bench(bundle, engine="auto").rows
            found += over_budget(rows, self.budgets._replace(max_size_mb=None))
        return [f"{miss}." for miss in found]

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
