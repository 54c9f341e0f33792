"""Find the fastest way to run a bundle here, among those that answer as the workstation did."""

from edgetl.bench.tune import try_all
from edgetl.core.bundle import Bundle
from edgetl.core.errors import EngineError
from edgetl.core.progress import Progress
from edgetl.runtime.engine import Choice, why_not
from edgetl.runtime.tuned import Tuned, write_tuned
from edgetl.verify.parity import check_parity


def tune(bundle: Bundle, progress: Progress) -> list[Tuned]:
    """Time every artifact through every engine that is here, and keep the fastest for `run`.

    Only what answers the golden samples as the workstation did is considered. Returns all that was
    tried, fastest first. Raises EngineError where nothing is.
    """
    asked = [
        Choice(report.engine, bundle.artifact(report.artifact))  # type: ignore[arg-type]
        for report in check_parity(bundle)
        if report.status == "right"
    ]
    right = [choice for choice in asked if not why_not(bundle.manifest, choice)]
    if not right:
        raise EngineError(
            "No engine here answers the golden samples as the workstation did.",
            hint="edgetl verify says why; pip install 'edgetl[onnxruntime]' for an engine.",
        )
    tried = try_all(bundle, right, progress)
    write_tuned(bundle, tried[0])
    return tried
