"""`edgetl inspect`."""

from pathlib import Path

import click

from edgetl.bundle.manifest import Manifest, Measured, MeasuredPart, Provenance
from edgetl.bundle.reports import TemperatureSource
from edgetl.cli.help import examples
from edgetl.cli.show import wide_option

_FITTED: dict[TemperatureSource, str] = {
    "validation": ", fitted on the validation part",
    "validation, cross-fitted": ", fitted on the validation part",
    "test, cross-fitted": ", fitted on the test part",
    "twin": ", its twin's",
}
_PARTS: dict[MeasuredPart, str] = {
    "test": "test",
    "val": "val",
    "unlabelled": "unlabelled",
    "train": "randomly cropped training",
}


@click.command(
    "inspect",
    epilog=examples("edgetl inspect model.edgetl", "edgetl inspect model.edgetl --wide"),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@wide_option
def command(bundle: Path, as_json: bool) -> None:
    """Show what a BUNDLE holds and what was measured of it."""
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.show import print_json

    manifest = Bundle(bundle).manifest
    if as_json:
        print_json(manifest)
    else:
        click.echo(_text(manifest))


def artifact_table(manifest: Manifest) -> str:
    """Format a table of the artifacts with their sizes and scores."""
    from edgetl.cli.show import mb, percent, points, table

    rows = []
    for artifact in manifest.artifacts:
        m = artifact.measured
        scored = (
            (percent(m.top1), points(m.drop_pp), _interval(m), percent(m.agreement), m.engine)
            if m
            else ("-",) * 5
        )
        rows.append((artifact.name, mb(artifact.bytes), *scored))
    head = ("artifact", "MB", "top-1 %", "drop pp", "95 % of drop", "agreement %", "through")
    return table(head, rows)


def int8_table(manifest: Manifest) -> str:
    """Format how each int8 artifact was made and what runs in float; empty if there is none."""
    from edgetl.cli.show import percent, points, table

    rows = []
    for artifact in manifest.artifacts:
        best = artifact.attempt
        if best is None:
            continue
        m = artifact.measured
        worst = (
            f"{m.worst_class.label} {points(m.worst_class.drop_pp)}" if m and m.worst_class else "-"
        )
        floats = ", ".join(f"{n} {kind}" for kind, n in artifact.float_operators.items())
        rows.append(
            (
                artifact.name,
                best.name,
                points(m.expected_drop_pp if m else best.expected_drop_pp),
                percent(artifact.int8_macs),
                f"{m.lost} / {m.won}" if m and m.lost is not None else "-",
                worst,
                floats or "none",
            )
        )
    head = ("int8", "by", "expected pp", "MACs %", "lost / won", "worst class pp", "in float")
    return table(head, rows) if rows else ""


def sensitivity_table(manifest: Manifest) -> str:
    """Format what int8 costs each layer, worst first; empty if it was not measured."""
    from edgetl.cli.show import percent, table

    rows = [
        (s.activation, ", ".join(s.layers) or "-", f"{s.snr_db:.1f}", percent(s.agreement))
        for s in manifest.sensitivities
    ]
    return table(("only this in int8", "weights of", "SNR dB", "agreement %"), rows) if rows else ""


def feature_map_table(manifest: Manifest) -> str:
    """Format which artifacts output a feature map, and what it costs; empty if none does."""
    from edgetl.cli.show import table

    rows = [
        (
            artifact.name,
            " x ".join(map(str, artifact.feature_map.shape)),
            f"{artifact.feature_map.added_bytes / 1e3:.1f}",
            f"{artifact.feature_map.added_ms:.2f}",
            f"{artifact.feature_map.logits_differ:.2g}",
        )
        for artifact in manifest.artifacts
        if artifact.feature_map
    ]
    head = ("for heatmaps", "feature map", "added kB", "added ms", "logits differ")
    return table(head, rows) if rows else ""


def unknown_table(manifest: Manifest) -> str:
    """Format when artifacts answer "unknown", and what that does; empty if none can."""
    from edgetl.cli.show import percent, table

    ruled = [(artifact.name, a) for artifact in manifest.artifacts if (a := artifact.unknown)]
    columns = {
        "unknown": [name for name, _ in ruled],
        "answered %": [percent(rule.answered) for _, rule in ruled],
        "top-1 then %": [percent(rule.top1) for _, rule in ruled],
    }
    scores = [rule.foreign for _, rule in ruled if rule.foreign]
    if scores:
        columns |= {
            f"AUROC, {scores[0].folder} %": [percent(score.auroc) for score in scores],
            "by confidence %": [percent(score.confidence_auroc) for score in scores],
            "FPR95 %": [percent(score.fpr95) for score in scores],
        }
    return table(list(columns), list(zip(*columns.values(), strict=True))) if ruled else ""


def verdict_table(manifest: Manifest) -> str:
    """Format the verdicts of artifacts on boards; empty if there are none."""
    from edgetl.cli.show import mb, table

    rows = [
        (
            f"{v.board}, emulated" if v.emulated else v.board,
            v.artifact,
            f"{v.engine} {v.version}".strip(),
            v.status,
            "-" if v.peak_memory_bytes is None else mb(v.peak_memory_bytes),
        )
        for v in manifest.verdicts
    ]
    return table(("on", "artifact", "engine", "status", "peak MB"), rows) if rows else ""


def _interval(measured: Measured) -> str:
    from edgetl.cli.show import points

    drop = measured.drop_interval_pp
    return f"{points(drop.low)} to {points(drop.high)}" if drop else "-"


def _trained(made: Provenance) -> str:
    if not made.training_images:
        return "trained     elsewhere"
    every = "every one of " if made.twin else ""
    return f"trained on  {every}{made.training_images} pictures of '{made.data}'"


def _text(manifest: Manifest) -> str:
    from edgetl.cli.finetune_text import twin_text
    from edgetl.cli.show import paragraph

    p, made = manifest.preprocess, manifest.provenance
    measured = next((a.measured for a in manifest.artifacts if a.measured), None)
    lines = [
        f"labels      {len(manifest.labels)}: {', '.join(manifest.labels[:10])}"
        + (", ..." if len(manifest.labels) > 10 else ""),
        f"input       {p.size_px} x {p.size_px} px uint8 RGB; short side to {p.resize_px} px, "
        f"{p.resize}, centre crop",
        f"backbone    {made.backbone}, from {made.weights}",
        f"{_trained(made)}, {made.calibration_images} for calibration",
        f"softmax     of logits / {manifest.temperature:.3g}, the temperature"
        + (_FITTED[manifest.temperature_from] if manifest.temperature_from else ""),
        f"made        {made.created} by edgetl {made.edgetl}",
    ]
    if made.twin:
        lines.append(f"expect      {twin_text(made.twin)}")
    if measured:
        scored = f"; torch: top-1 {made.torch_top1:.2%}" if made.torch_top1 is not None else ""
        lines.append(f"measured    on {measured.images} {_PARTS[measured.part]} pictures{scored}")
    if manifest.target:
        lines.append(f"made for    {manifest.target.device}")
    tables = [
        artifact_table(manifest), int8_table(manifest), feature_map_table(manifest),
        unknown_table(manifest),
        sensitivity_table(manifest), verdict_table(manifest),
    ]  # fmt: skip
    facts = paragraph("\n".join(lines), indent=" " * len("backbone    "))
    return facts + "".join(f"\n\n{text}" for text in tables if text)
