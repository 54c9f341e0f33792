"""`edgetl inspect`."""

from pathlib import Path

import click

from edgetl.core.manifest import Manifest, Provenance


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(bundle: Path, as_json: bool) -> None:
    """Show what a BUNDLE holds and what was measured of it."""
    from edgetl.cli.show import print_json
    from edgetl.core.bundle import Bundle

    manifest = Bundle(bundle).manifest
    if as_json:
        print_json(manifest)
    else:
        click.echo(_text(manifest))


def artifact_table(manifest: Manifest) -> str:
    """Each artifact with its size and what it scored."""
    from edgetl.cli.show import mb, percent, points, table

    rows = []
    for artifact in manifest.artifacts:
        m = artifact.measured
        scored = (
            (percent(m.top1), points(m.drop_pp), percent(m.agreement), m.engine)
            if m
            else ("-", "-", "-", "-")
        )
        rows.append((artifact.name, mb(artifact.bytes), *scored))
    return table(("artifact", "MB", "top-1 %", "drop pp", "agreement %", "through"), rows)


def _trained(made: Provenance) -> str:
    if not made.training_images:
        return "trained     elsewhere"
    return f"trained on  {made.training_images} pictures of '{made.data}'"


def _text(manifest: Manifest) -> str:
    p, made = manifest.preprocess, manifest.provenance
    measured = next((a.measured for a in manifest.artifacts if a.measured), None)
    lines = [
        f"labels      {len(manifest.labels)}: {', '.join(manifest.labels[:10])}"
        + (", ..." if len(manifest.labels) > 10 else ""),
        f"input       {p.size_px} x {p.size_px} px uint8 RGB; short side to {p.resize_px} px, "
        f"{p.resize}, centre crop",
        f"backbone    {made.backbone}, from {made.weights}",
        f"{_trained(made)}, {made.calibration_images} for calibration",
        f"softmax     of logits / {manifest.temperature:.3g}, the temperature",
        f"made        {made.created} by edgetl {made.edgetl}",
    ]
    if measured:
        scored = f"; torch: top-1 {made.torch_top1:.2%}" if made.torch_top1 is not None else ""
        lines.append(f"measured    on {measured.images} {measured.part} pictures{scored}")
    return "\n".join([*lines, "", artifact_table(manifest)])
