"""`edgetl finetune`."""

from pathlib import Path

import click


@click.command("finetune")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("-r", "--recipe", default=None, help="A recipe's name or a YAML file.")
@click.option("--backbone", default=None, help="The network, e.g. mobilenet_v2.")
@click.option("--weights", default=None, help="imagenet, none, or a weights file.")
@click.option("--image-size", type=int, default=None, metavar="PX", help="Side of the input.")
@click.option("--epochs", type=int, default=None, help="Epochs after the linear probe.")
@click.option("--seed", type=int, default=None, help="Seed of the split and of training.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any recipe key.")
@click.option("--val", type=click.Path(path_type=Path), default=None, help="Validate on these.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
def command(
    data: Path,
    out: Path,
    recipe: str | None,
    backbone: str | None,
    weights: str | None,
    image_size: int | None,
    epochs: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    val: Path | None,
    resume: bool,
) -> None:
    """Fine-tune a network on the pictures in DATA.

    DATA holds a folder per class, or train/val(/test) folders of them; or is a CSV table with
    columns path and label, and split (train, val, test) where you part the pictures yourself,
    paths counting from the table's folder or absolute; or is torchvision:NAME, a public data
    set. The run folder gets the checkpoint, its metrics, the resolved recipe, and which picture
    was in which part.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.core.recipe import DEFAULT_RECIPE, load_recipe, override
    from edgetl.pipeline.train import finetune, run_state

    options = {
        "backbone": backbone,
        "weights": weights,
        "image_size_px": image_size,
        "finetune.epochs": epochs,
        "seed": seed,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    resolved = override(load_recipe(recipe or DEFAULT_RECIPE), [*given, *settings])
    try:
        outcome = finetune(data, out, resolved, val=val, resume=resume, progress=make_progress())
    except KeyboardInterrupt:
        if run_state(out) == "interrupted":
            click.echo("Whole epochs are kept: the same command with --resume goes on.", err=True)
        raise

    for item in outcome.unreadable[:10]:
        click.echo(f"skipped: {item.reason}", err=True)
    if outcome.unreadable:
        click.echo(f"skipped {len(outcome.unreadable)} unreadable pictures in all", err=True)
    parts = [report for report in (outcome.val, outcome.test) if report]
    for report in parts:
        click.echo(
            f"{report.subject}: top-1 {report.top1:.2%}, macro F1 {report.macro_f1:.3f}, "
            f"{report.images} pictures"
        )
    click.echo(f"{outcome.run} made in {outcome.seconds:.0f} s; next: edgetl export {outcome.run}")
