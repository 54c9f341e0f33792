"""edgetl: from a folder of photographs to a small classifier that provably works on the device.

    import edgetl

    edgetl.finetune("photos", "run")
    edgetl.export("run", "model.edgetl")
    edgetl.Classifier("model.edgetl")("photo.jpg").label

Each name is imported when it is first used: a device that only classifies needs no torch, and
`edgetl --help` needs neither numpy nor Pillow.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetl.benchmarking.run import bench
    from edgetl.bundle.reports import AccuracyReport
    from edgetl.core.progress import Progress
    from edgetl.evaluation.parity import verify
    from edgetl.runtime.classifier import Classifier
    from edgetl.workstation.choosing.choose import choose
    from edgetl.workstation.export.export import export
    from edgetl.workstation.report.report import report
    from edgetl.workstation.search.search import search
    from edgetl.workstation.training.finetune import finetune

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "__version__",
    "bench",
    "choose",
    "evaluate",
    "export",
    "finetune",
    "report",
    "search",
    "verify",
]

_MODULES = {
    "Classifier": "edgetl.runtime.classifier",
    "bench": "edgetl.benchmarking.run",
    "choose": "edgetl.workstation.choosing.choose",
    "export": "edgetl.workstation.export.export",
    "finetune": "edgetl.workstation.training.finetune",
    "report": "edgetl.workstation.report.report",
    "search": "edgetl.workstation.search.search",
    "verify": "edgetl.evaluation.parity",
}
# What checks that a name's libraries are installed, in `edgetl.workstation.libraries`.
_CHECKS = {
    "choose": "require_training",
    "export": "require_training",
    "finetune": "require_training",
    "report": "require_report",
    "search": "require_search",
}


def __getattr__(name: str) -> Any:
    """Import a name of the API when it is used. Raises EdgetlError where it needs torch."""
    if name in _CHECKS:
        getattr(importlib.import_module("edgetl.workstation.libraries"), _CHECKS[name])()
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'edgetl' has no attribute '{name}'")


def evaluate(
    target: str | Path,
    data: str | Path,
    *,
    artifact: str | None = None,
    engine: str = "auto",
    corruptions: bool = False,
    against: str | Path | None = None,
    progress: "Progress | None" = None,
) -> "AccuracyReport":
    """Score a run or a bundle on labelled pictures, matched to the model's labels by name.

    Args:
        target: a run folder (scored through torch) or a bundle (through an engine).
        data: class folders, a CSV table, or "torchvision:NAME". Where they come in parts, the
            test part is scored, else the val part. A class that the model does not know is an
            error.
        artifact: of a bundle, e.g. "tflite-int8".
        engine: of a bundle, e.g. "litert"; "auto" takes what `Classifier` would take.
        corruptions: also score on the same pictures with blur, noise, compression, darkness and a
            colour cast, each in five severities. That takes 26 times as long.
        against: a folder of pictures that show none of the classes: also score how well a
            bundle's artifacts tell them from their own (all of them through every engine here,
            unless `artifact` or `engine` names one).
        progress: where to show how far it is.

    Raises EdgetlError.

    Examples:
        ```python
        report = edgetl.evaluate("run", "new-photos")
        for score in report.per_class:
            print(f"{score.label}: {score.recall:.0%} of {score.images} found")
        ```
    """
    from edgetl.core.errors import EdgetlError
    from edgetl.core.progress import Silent
    from edgetl.workstation.datasets.locate import locate

    target, progress = Path(target), progress or Silent()
    found = locate(Path(data), progress)
    if not target.is_dir():
        from edgetl.evaluation.evaluate import evaluate_bundle

        return evaluate_bundle(
            target,
            found,
            artifact,
            engine,
            progress,
            corruptions=corruptions,
            against=Path(against) if against else None,
        )
    if artifact or engine != "auto" or against:
        raise EdgetlError(
            f"'{target}' is a run; --artifact, --engine and --against belong to a bundle.",
            hint="make one with `edgetl export`, or leave them away.",
        )
    from edgetl.workstation.evaluate import evaluate_run

    return evaluate_run(target, found, progress, corruptions=corruptions)
