"""`edgetl import`."""

from pathlib import Path

import click

from edgetl.cli.completion import backbones, names, nothing
from edgetl.cli.help import SectionedCommand, examples


@click.command(
    "import",
    cls=SectionedCommand,
    sections={
        "Network": ("--backbone", "--labels"),
        "Pictures (as for the backbone's ImageNet weights, unless given)": (
            "--image-size",
            "--crop",
            "--mean",
            "--std",
        ),
        "Run": ("--out", "--test"),
    },
    epilog=examples(
        "edgetl import imagenet:mobilenet_v2 -o run",
        "edgetl import weights.pth --backbone resnet18 --labels labels.txt -o run",
    ),
)
@click.argument("checkpoint", shell_complete=names(nothing, or_file=True))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Run folder.")
@click.option("--backbone", default=None, metavar="NAME", shell_complete=names(backbones),
              help="The state dict's architecture, e.g. mobilenet_v2.")  # fmt: skip
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    default=None,
    help="Labels in the order of the outputs: one per line, or a JSON list.",
)
@click.option(
    "--image-size", type=int, default=None, metavar="PX", help="Side of the network's input."
)
@click.option("--crop", type=float, default=None, help="Fraction of the short side to keep.")
@click.option(
    "--mean", type=(float, float, float), default=None, help="Per RGB channel, of pixels / 255."
)
@click.option(
    "--std", type=(float, float, float), default=None, help="Per RGB channel, of pixels / 255."
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DATA",
    help="Labelled pictures to measure its artifacts on.",
)
def command(
    checkpoint: str,
    out: Path,
    backbone: str | None,
    labels: Path | None,
    image_size: int | None,
    crop: float | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    test: Path | None,
) -> None:
    """Make a run folder of a network that was trained elsewhere.

    CHECKPOINT is a state dict, .safetensors or .pth, with torchvision's or timm's names; or
    imagenet:NAME, e.g. imagenet:mobilenet_v2, for a backbone with its ImageNet weights.

    Unless --test gives labelled pictures, its artifacts are measured by how often they agree
    with it, on pictures of export's --calibration.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.workstation.import_checkpoint import import_checkpoint

    given = {"size_px": image_size, "crop": crop, "mean": mean, "std": std}
    facts = import_checkpoint(
        checkpoint,
        out,
        backbone=backbone,
        labels=labels,
        test=test,
        overrides={key: value for key, value in given.items() if value is not None},
        progress=make_progress(),
    )
    spec = facts.preprocess
    click.echo(
        f"{out}: {facts.backbone} for {len(facts.labels)} labels, pictures of {spec.size_px} px; "
        f"next: edgetl export {out} --calibration PICTURES"
    )
