"""`edgetl export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

import edgetl
from edgetl.cli.completion import devices, formats, names
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.options import budget_options
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.bundle.archive import Bundle


@click.command(
    "export",
    cls=SectionedCommand,
    sections={
        "What to make": ("--out", "--format", "--int8", "--fp16", "--fp32", "--target"),
        "Limits": ("--max-drop", "--max-latency", "--max-size", "--max-memory"),
        "Pictures": ("--calibration", "--foreign"),
        "Explanations": ("--explain", "--explain-output"),
    },
    epilog=examples(
        "edgetl export run -o model.edgetl",
        "edgetl export run --target raspberry-pi-4 --max-drop 0.5",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", default="model.edgetl", show_default=True, type=click.Path(path_type=Path),
    help="The bundle to write.",
)  # fmt: skip
@click.option(
    "--format",
    "formats",
    default=None,
    metavar="NAMES",
    shell_complete=names(formats),
    help="Formats, separated by commas.  [default: onnx,openvino,tflite]",
)
@click.option("--int8", "schemes", flag_value="int8", multiple=True,
              help="Static int8.  [default, with --fp32]")  # fmt: skip
@click.option("--fp16", "schemes", flag_value="fp16", multiple=True, help="Half precision.")
@click.option("--fp32", "schemes", flag_value="fp32", multiple=True,
              help="Full precision.  [default, with --int8]")  # fmt: skip
@click.option(
    "--max-drop",
    type=float,
    default=None,
    metavar="PP",
    help="Exit 3 if an artifact loses more points of top-1.  [default: 0.5, without the exit]",
)
@budget_options("inference on this machine")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    default=None,
    help="Pictures to choose int8 ranges with, instead of training pictures.",
)
@click.option(
    "--foreign",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Pictures that show none of the classes, to score the answer 'unknown' on.",
)
@click.option("--explain", is_flag=True, help="Also measure what int8 costs each layer.")
@click.option(
    "--explain-output/--no-explain-output",
    default=None,
    help="Output the last feature map, too, for heatmaps and to tell unknown pictures: "
    "`edgetl run --explain DIR --unknown`.  [default: if the network has one]",
)
@click.option("--target", default=None, metavar="DEVICE",
              shell_complete=names(devices, or_file=True),
              help="Make the bundle for this device: a name, or your own profile.")  # fmt: skip
@wide_option
def command(
    run: Path,
    out: Path,
    formats: str | None,
    schemes: tuple[str, ...],
    max_drop: float | None,
    max_latency: float | None,
    max_size: float | None,
    max_memory: float | None,
    calibration: Path | None,
    explain: bool,
    explain_output: bool | None,
    foreign: Path | None,
    target: str | None,
) -> None:
    """Turn a RUN into a bundle, each artifact measured through its own engine.

    Without --int8, --fp16 or --fp32, fp32 and int8 are made. --max-size applies to each int8
    artifact, --max-latency and --max-memory to what `edgetl run` would use on this machine.
    """
    from edgetl.benchmarking.budgets import Budgets
    from edgetl.cli.progress import make_progress
    from edgetl.devices.profiles import formats_for, load_device
    from edgetl.workstation.export.formats.registry import format_spec

    if formats and target:
        raise click.UsageError("--target chooses the formats; leave --format away.")
    names: list[str] | None = None
    device = load_device(target) if target else None
    if device:
        names = list(formats_for(device))
        click.echo(f"{device.name}: {device.int8_advice}", err=True)
    if formats:
        unique = dict.fromkeys(name.strip() for name in formats.split(","))
        names = [format_spec(name).name for name in unique]
    bundle = edgetl.export(
        run,
        out,
        formats=names,
        schemes=schemes or ("fp32", "int8"),  # type: ignore[arg-type]
        calibration=calibration,
        max_drop_pp=max_drop,
        budgets=Budgets(max_latency, max_size, max_memory),
        explain=explain,
        explain_output=explain_output,
        foreign=foreign,
        target=device,
        progress=make_progress(),
    )
    _show(bundle)


def _show(bundle: "Bundle") -> None:
    from edgetl.cli.finetune_text import twin_text
    from edgetl.cli.inspect import (
        artifact_table,
        feature_map_table,
        int8_table,
        sensitivity_table,
        unknown_table,
    )
    from edgetl.cli.show import paragraph

    click.echo(artifact_table(bundle.manifest))
    if bundle.manifest.provenance.twin:
        twin = twin_text(bundle.manifest.provenance.twin)
        click.echo(paragraph(f"\ncompared with torch alone; expect {twin}"))
    if any(artifact.attempts for artifact in bundle.manifest.artifacts):
        click.echo(f"\n{int8_table(bundle.manifest)}")
    if bundle.manifest.head:
        click.echo(f"\n{feature_map_table(bundle.manifest)}")
    click.echo(f"\n{unknown_table(bundle.manifest)}")
    if bundle.manifest.sensitivities:
        from edgetl.workstation.export.export import chart_path

        click.echo(f"\n{sensitivity_table(bundle.manifest)}\n\ndrawn in {chart_path(bundle.path)}")
    click.echo(f"{bundle.path}: {bundle.path.stat().st_size / 1e6:.1f} MB")
