"""`edgetl review`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import SectionedCommand, examples

if TYPE_CHECKING:
    from edgetl.collection.records import CollectedPicture
    from edgetl.collection.review_table import Applied


@click.command(
    "review",
    cls=SectionedCommand,
    sections={
        "To label": ("--out", "--csv", "--max", "--all"),
        "To write labels back": ("--apply", "--new-label", "--skip-missing"),
    },
    epilog=examples(
        "edgetl review kept/ -o review.html",
        "edgetl review kept/ --csv labels.csv",
        "edgetl review kept/ --apply labels.csv",
        "edgetl review kept/ --apply labels.csv --new-label wasps",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write a page to label the pictures on.")  # fmt: skip
@click.option("--csv", "table", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write a table to label the pictures in, for a spreadsheet.")  # fmt: skip
@click.option("--max", "most", type=click.IntRange(1, 5000), default=200, show_default=True,
              metavar="N", help="How many pictures the page shows.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="Show those that are reviewed already, too.")  # fmt: skip
@click.option("--apply", "applied", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write the labels of a filled-in table into the folder.")  # fmt: skip
@click.option(
    "--new-label",
    "new_labels",
    multiple=True,
    metavar="NAME",
    help="With --apply: allow a label that is none of the bundle's; can be repeated.",
)
@click.option("--skip-missing", is_flag=True,
              help="With --apply: leave out pictures that are not in the folder.")  # fmt: skip
def command(
    folder: Path,
    out: Path | None,
    table: Path | None,
    most: int,
    everything: bool,
    applied: Path | None,
    new_labels: tuple[str, ...],
    skip_missing: bool,
) -> None:
    """Correct or confirm the labels of pictures that `run --collect DIR` kept.

    The page works from the disk in any browser, without a network: number keys choose a class,
    arrows move, and it gives labels.csv, which --apply writes into the folder. Then
    `edgetl finetune --add DIR` learns from the pictures. Without options the command says how many
    pictures there are, and how many are reviewed.
    """
    if (new_labels or skip_missing) and not applied:
        raise click.UsageError("--new-label and --skip-missing belong to --apply.")

    from edgetl.cli.messages import print_warning
    from edgetl.collection.records import read_contents

    if applied:
        from edgetl.collection.review_table import apply_table

        changed = apply_table(folder, applied, new_labels, skip_missing=skip_missing)
        click.echo(_applied_text(changed, folder))
    contents = read_contents(folder)
    for problem in contents.problems[:10]:
        print_warning(problem)
    if len(contents.problems) > 10:
        print_warning(f"{len(contents.problems)} records in all cannot be used.")
    pictures = contents.pictures
    if table:
        from edgetl.collection.review_table import table_text
        from edgetl.core.files import write_text

        rows = [each for each in pictures if everything or each.record.review is None]
        write_text(table, table_text(rows))
        click.echo(f"{table}: {len(rows)} pictures; fill in the column 'label'")
    if out:
        _write_page(folder, pictures, out, most, everything)
    if not (applied or table or out):
        click.echo(_summary(pictures, folder))


def _write_page(
    folder: Path, pictures: "Sequence[CollectedPicture]", out: Path, most: int, everything: bool
) -> None:
    from edgetl.cli.messages import print_warning
    from edgetl.cli.progress import make_progress
    from edgetl.collection.review_page import write_page

    page = write_page(folder, pictures, out, make_progress(), most=most, reviewed=everything)
    for problem in page.problems:
        print_warning(problem)
    left = f"; {page.left} more are left, --max N shows more at once" if page.left else ""
    click.echo(f"{out}: {page.shown} pictures{left}")


def _applied_text(changed: "Applied", folder: Path) -> str:
    parts = [f"{changed.labelled} labelled", f"{changed.none} none of the classes"]
    if changed.taken_back:
        parts.append(f"{changed.taken_back} taken back")
    if changed.unchanged:
        parts.append(f"{changed.unchanged} as before")
    if changed.missing:
        parts.append(f"{changed.missing} not in the folder")
    return f"{folder}: {', '.join(parts)}"


def _summary(pictures: "Sequence[CollectedPicture]", folder: Path) -> str:
    from edgetl.cli.show import table

    reasons = Counter(each.record.reason for each in pictures)
    reviewed = [each for each in pictures if each.record.review is not None]
    rows = [
        (reason, str(count), str(sum(each.record.reason == reason for each in reviewed)))
        for reason, count in sorted(reasons.items(), reverse=True)
    ]
    right = sum(
        each.record.review is not None
        and each.record.review.label == each.record.prediction.top[0].label
        for each in reviewed
    )
    lines = [table(("kept as", "pictures", "reviewed"), rows)]
    if reviewed:
        lines.append(f"the likeliest class was right on {right} of {len(reviewed)} reviewed ones")
    if len(reviewed) < len(pictures):
        lines.append(f"next: edgetl review {folder} -o review.html")
    return "\n".join(lines)
