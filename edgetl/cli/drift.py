"""`edgetl drift`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.options import POSITIVE
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.collection.drift import DriftReport, DriftRow, Quantity

_JUDGED: "tuple[Quantity, ...]" = ("confidence", "distance")


@click.command(
    "drift",
    epilog=examples(
        "edgetl drift model.edgetl kept/",
        "edgetl drift model.edgetl kept/ --days 7 --json",
        "edgetl drift model.edgetl kept/ --classes --bound 0.1",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, metavar="N",
              help="The last N days that have answers.")  # fmt: skip
@click.option("--bound", type=POSITIVE, default=None, metavar="X",
              help="The stability index above which a change is drift.  "
              "[default: 0.25]")  # fmt: skip
@click.option("--classes", is_flag=True,
              help="Exit 3 also if the classes' shares have changed.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(
    bundle: Path, folder: Path, days: int, bound: float | None, classes: bool, as_json: bool
) -> None:
    """Compare the answers that `run --collect DIR` counted with the BUNDLE's own.

    The bundle holds how its artifacts answered the held-out pictures. For confidence, for the
    distance to the training classes and for the classes, the table has the population stability
    index (PSI) of each day and of all days together. The exit code is 3 if one of the first two is
    above the bound, and not by chance: a permutation test gives each p-value. Days with fewer than
    30 pictures are not judged by themselves.

    Classes in the field usually have other shares than in a data set, so that their change counts
    only with --classes.
    """
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.messages import print_warning
    from edgetl.cli.show import print_json
    from edgetl.collection.days import read_days
    from edgetl.collection.drift import BOUND, measure_drift
    from edgetl.core.errors import DataError

    found, problems = read_days(folder)
    for problem in problems:
        print_warning(problem)
    if not found:
        raise DataError(
            f"'{folder}' has no counts of answers.",
            hint=f"`edgetl run BUNDLE SOURCE --collect {folder}` counts them.",
        )
    reports = measure_drift(Bundle(bundle), found[-days:], bound or BOUND)
    if as_json:
        print_json(reports)
    else:
        click.echo("\n\n".join(map(_text, reports)))
    quantities: Sequence[Quantity] = (*_JUDGED, "classes") if classes else _JUDGED
    # A refitted network is surer of its training pictures than of any others.
    judged = [report for report in reports if bound or report.part != "train"]
    _require_none(judged, quantities, folder)


def _text(report: "DriftReport") -> str:
    from edgetl.cli.show import paragraph, table
    from edgetl.collection.drift import LEAST_IMAGES

    quantities = [f"{score.quantity} PSI" for score in report.total.scores]
    rows = [
        ("bundle", str(report.images), _share(report.unknown), *["-"] * len(quantities)),
        _cells(report.total, "all days"),
        *(_cells(day, day.date or "") for day in report.days),
    ]
    lines = [
        f"{report.artifact}: {report.total.images} answers on {len(report.days)} "
        f"{'day' if len(report.days) == 1 else 'days'}, against {report.images} of the bundle's "
        f"own ({report.part or 'unknown part'})",
        table(("day", "pictures", "unknown %", *quantities), rows),
        paragraph(
            "PSI: population stability index, 0 where the shares are the same. p: how probable so "
            f"large an index is by chance. * is drift: above {report.bound:g}, and p below "
            f"{report.level:.2g}; days with fewer than {LEAST_IMAGES} pictures are not judged."
        ),
    ]
    if report.part == "train":
        lines.append(
            paragraph(
                "The bundle's own pictures are training pictures, which it is surer of than of any "
                "others: compare days with each other. The exit code judges only with --bound."
            )
        )
    return "\n".join(lines)


def _cells(row: "DriftRow", name: str) -> tuple[str, ...]:
    scores = (
        f"{score.psi:.2f}{'*' if score.drifted else ''} "
        + ("p<0.001" if score.p_value < 0.001 else f"p {score.p_value:.3f}")
        for score in row.scores
    )
    return name, str(row.images), _share(row.unknown), *scores


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _require_none(
    reports: "Sequence[DriftReport]", quantities: "Sequence[Quantity]", folder: Path
) -> None:
    """Raise GateMissedError if one of the quantities drifted."""
    from edgetl.core.errors import GateMissedError

    found = [
        f"{score.quantity} on {row.date or 'all days'} (PSI {score.psi:.2f})"
        for report in reports
        for row, score in report.drifted(quantities)
    ]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise GateMissedError(
            f"The pictures have changed: {', '.join(found[:3])}{more}.",
            hint=f"look at them: edgetl review {folder} -o review.html",
        )
