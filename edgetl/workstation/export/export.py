"""Exports a run folder to `model.edgetl`, with every artifact measured in its own engine."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.benchmarking.budgets import NO_BUDGETS, Budgets
from edgetl.bundle.archive import Bundle, write_bundle
from edgetl.bundle.manifest import Manifest, Scheme
from edgetl.core.errors import GateMissedError
from edgetl.core.files import require_writable
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import read_document
from edgetl.devices.profile import DeviceProfile
from edgetl.evaluation.paired import disagreements
from edgetl.workstation.export.artifacts import ArtifactBuilder, plan_artifacts
from edgetl.workstation.export.formats.registry import FORMATS, format_spec, require_libraries
from edgetl.workstation.export.gates import Gates
from edgetl.workstation.export.int8.constraints import constraints_of
from edgetl.workstation.export.int8.sensitivity_chart import draw_sensitivities
from edgetl.workstation.export.job import open_job
from edgetl.workstation.export.manifest import (
    GOLDEN_FILE,
    HEAD_FILE,
    STATISTICS_FILE,
    make_manifest,
)
from edgetl.workstation.export.measurement import measure
from edgetl.workstation.recipe import RECIPE_FILE


def export(
    run: str | Path,
    out: str | Path,
    *,
    formats: Sequence[str] | None = None,
    schemes: Sequence[Scheme] = ("fp32", "int8"),
    calibration: Path | None = None,
    max_drop_pp: float | None = None,
    budgets: Budgets = NO_BUDGETS,
    explain: bool = False,
    explain_output: bool | None = None,
    foreign: Path | None = None,
    target: DeviceProfile | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Export, quantize and measure a run's network, write the bundle, and return it.

    Args:
        run: the folder of a fine-tuned run.
        out: the bundle to write.
        formats: names of formats; None: "onnx", "openvino" and "tflite".
        schemes: any of "fp32", "fp16", "int8"; formats that gain nothing from fp16 leave it out.
        calibration: a folder of pictures to choose int8 ranges with; None: training pictures. If
            the run held out no labelled pictures, the bundle is measured on some of these.
        max_drop_pp: the most points of top-1 that an artifact may lose against torch; without
            labels, the largest share of pictures, in percent, that it may classify differently.
        budgets: limits of latency, size and memory.
        explain: measure what int8 costs each layer, and draw a chart beside the bundle
            (`chart_path`). This is also done if an int8 artifact exceeds `max_drop_pp`.
        explain_output: let the artifacts also output their last feature map, from which the
            device makes heatmaps and tells unknown pictures; what this costs is measured. None: if
            the network has such a map.
        foreign: a folder of pictures that show none of the classes; the rule for unknown pictures
            is scored on up to 1,000 of them.
        target: the device the bundle is for. It sets the order in which engines are tried there,
            and int8 meets the constraints of its kernels. The constraints of this machine's
            kernels are met, too, because measurements here would be wrong otherwise.
        progress: where to show how far it is.

    Raises EdgetlError, also if `explain_output` is set and the network has no such feature map;
    GateMissedError if an artifact lost more than `max_drop_pp` or exceeds a
    budget, or if the artifacts contradict each other. The bundle is then written under another
    name first.

    Examples:
        ```python
        bundle = edgetl.export("run", "model.edgetl", formats=["onnx"])
        for artifact in bundle.manifest.artifacts:
            print(f"{artifact.name}: {artifact.bytes:,} bytes, {artifact.measured.drop_pp:+.2f} pp")
        ```
    """
    run, out, progress = Path(run), Path(out), progress or Silent()
    gates = Gates(max_drop_pp, budgets)
    names = _in_order(formats)
    require_writable(out)
    gates.require_measurable(target)
    require_libraries(names)
    plan = plan_artifacts(names, schemes)
    constraints = constraints_of(
        target, [name for name, scheme in plan if scheme == "int8"], progress
    )
    job = open_job(run, calibration, constraints, progress, foreign=foreign)
    builder = ArtifactBuilder(job, feature_map=explain_output)
    artifacts = builder.build(plan, gates.trial_goal_pp)
    statistics = builder.training_statistics()
    measurement = measure(job, artifacts, statistics)
    contents = {
        GOLDEN_FILE: measurement.golden,
        RECIPE_FILE: read_document(run / RECIPE_FILE),
    }
    if statistics:
        contents[STATISTICS_FILE] = statistics
    for artifact in artifacts:
        contents |= dict(zip(artifact.member_names(), artifact.files, strict=True))
    if builder.head:
        contents[HEAD_FILE] = builder.head.weights.astype("<f4").tobytes()
    manifest = make_manifest(job, artifacts, measurement, contents, target)
    over = gates.over_drop(manifest)
    quantized = any(artifact.attempts for artifact in artifacts)
    if quantized and (explain or any(artifact.attempts for artifact in over)):
        manifest = msgspec.structs.replace(manifest, sensitivities=builder.layer_sensitivities())
        draw_sensitivities(manifest.sensitivities, chart_path(out))
    missed = [gates.describe_drop(manifest, over)] if over else []
    missed += disagreements(measurement.answers, [artifact.name for artifact in artifacts])
    return _write(out, manifest, contents, missed, gates)


def chart_path(out: Path) -> Path:
    """Return the path of the layer sensitivity chart: `model.layers.png` beside `model.edgetl`."""
    return out.with_suffix(".layers.png")


def _in_order(formats: Sequence[str] | None) -> list[str]:
    """Check the formats' names, and return them in the registry's order."""
    if formats is None:
        return [spec.name for spec in FORMATS.own()]
    return sorted((format_spec(name).name for name in formats), key=list(FORMATS).index)


def _write(
    out: Path,
    manifest: Manifest,
    contents: dict[str, bytes],
    missed: Sequence[str],
    gates: Gates,
) -> Bundle:
    """Write the bundle; if it misses a gate, under another name, and raise GateMissedError."""
    if not missed and gates.budgets == NO_BUDGETS:
        write_bundle(out, manifest, contents)
        return Bundle(out)
    other = out.with_name(f"{out.stem}.over-budget{out.suffix}")
    write_bundle(other, manifest, contents)
    missed = [*missed, *gates.over_budgets(Bundle(other))]
    if not missed:
        other.replace(out)
        return Bundle(out)
    raise GateMissedError(
        " ".join(missed), hint=f"'{out}' was not written; what was made is in '{other}'."
    )
