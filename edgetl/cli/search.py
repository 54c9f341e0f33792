"""`edgetl search`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.completion import names, recipes
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.workstation.search.results import Search, Trial

_LISTED = 5


@click.command(
    "search",
    cls=SectionedCommand,
    sections={
        "Recipe": ("--set",),
        "Study": ("--trials", "--storage", "--study"),
        "Result and device": ("--out", "--resume", "--device"),
    },
    epilog=examples(
        "edgetl search edge-fast photos/ -o better",
        "edgetl search my.yaml photos/ -o better --trials 40 --resume",
        "edgetl search my.yaml photos/ -o s --storage postgresql+psycopg://u@h/db",
    ),
)
@click.argument("recipe", shell_complete=names(recipes, or_file=True))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="The folder of the result.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1, 10_000), default=20, show_default=True,
              help="How many trials the study is to have in all.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="Set any key of the recipe; may be repeated.")  # fmt: skip
@click.option(
    "--storage",
    default=None,
    metavar="FILE|URL",
    envvar="EDGETL_STORAGE",
    help="An SQLite file, or a database that machines share.  [default: study.db in the folder]",
)
@click.option("--study", default="search", show_default=True, metavar="NAME",
              help="The study's name in the storage.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with a search, up to --trials.")
@click.option("--device", default="auto", metavar="NAME",
              help="What to train on: auto, cpu, cuda, cuda:N or mps.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the search as one JSON document.")
@wide_option
def command(
    recipe: str,
    data: Path,
    out: Path,
    trials: int,
    settings: tuple[str, ...],
    storage: str | None,
    study: str,
    resume: bool,
    device: str,
    as_json: bool,
) -> None:
    """Search for values with which RECIPE learns the pictures in DATA better.

    The recipe file's key 'search' says what is searched: a range or a list of choices for each
    key. Without it these are the learning rates, weight decay and the smallest crop. The first
    trial is the recipe itself; those that fall behind are ended early. Trials are compared by
    their calibrated loss on validation pictures, a fifth unless the recipe or the data says
    otherwise; the test part takes no part.

    The folder gets recipe.yaml with the best values, search.json, search.png and the runs of
    finished trials. Processes and machines that run the same command with the same --storage
    share the trials. A password belongs into the driver's own files or variables, such as
    PGPASSWORD, or into EDGETL_STORAGE instead of --storage.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.workstation.libraries import require_search
    from edgetl.workstation.recipe import load_ranges
    from edgetl.workstation.user_recipe import user_recipe

    require_search()
    from edgetl.workstation.search.search import search

    with _resume_hint_on_interrupt():
        found = search(
            user_recipe(recipe, settings),
            data,
            out,
            trials=trials,
            ranges=load_ranges(recipe),
            storage=storage,
            study=study,
            resume=resume,
            device=device,
            progress=make_progress(),
        )
    if as_json:
        print_json(found)
    else:
        click.echo(_text(found, data, out))


@contextmanager
def _resume_hint_on_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            "Ended trials are kept, and the interrupted one does not count: the same command with "
            "--resume goes on.",
            err=True,
        )
        raise


def _text(search: "Search", data: Path, out: Path) -> str:
    """The best trials and the recipe's own, what was gained, and what to run next."""
    from edgetl.cli.show import paragraph, percent, table

    best, own = search.ranked[0], search.own
    listed = search.ranked[:_LISTED]
    if own and own not in listed:
        listed.append(own)
    header = ("trial", *(key.split(".")[-1] for key in search.ranges), "val loss", "val %", "s")
    lines = [table(header, [_row(trial, search) for trial in listed])]
    pruned = len(search.having("pruned"))
    lines.append(
        paragraph(
            f"* the recipe's own values. {search.counted} of {search.wanted} trials, {pruned} of "
            f"them pruned; calibrated loss and top-1 on {search.val_images} validation pictures."
        )
    )
    if search.importances:
        shares = (f"{key} {share:.0%}" for key, share in search.importances.items())
        lines.append(paragraph(f"importance: {', '.join(shares)}"))
    if own:
        lines.append(
            paragraph(
                f"best: trial {best.number}: loss {own.val_loss:.4f} -> {best.val_loss:.4f}, top-1 "
                f"{percent(own.val_top1)} -> {percent(best.val_top1)} %; see {out / 'search.png'}"
            )
        )
    lines.append(f"next: edgetl finetune {data} -r {out / 'recipe.yaml'} -o run")
    return "\n".join(lines)


def _row(trial: "Trial", search: "Search") -> tuple[str, ...]:
    from edgetl.cli.show import percent
    from edgetl.workstation.search.trial import shown

    return (
        f"{trial.number}{'*' * trial.own}",
        *(shown(trial.values[key]) for key in search.ranges),
        f"{trial.val_loss:.4f}",
        percent(trial.val_top1),
        f"{trial.seconds:.0f}" if trial.seconds is not None else "-",
    )
