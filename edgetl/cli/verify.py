"""`edgetl verify`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.arm_vm.messages import BoardRow, EmulatedReport
    from edgetl.bundle.reports import ParityReport


@click.command(
    "verify",
    epilog=examples(
        "edgetl verify model.edgetl",
        "edgetl verify model.edgetl --on emulated:raspberry-pi-4 --pictures photos/",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--on",
    "place",
    metavar="emulated:BOARD",
    help="Verify on an emulated ARM board, e.g. emulated:raspberry-pi-4.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="With --on: a folder of pictures to classify both there and here.",
)
@click.option("--record", is_flag=True, help="With --on: write the verdicts to the bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(
    bundle: Path, place: str | None, pictures: Path | None, record: bool, as_json: bool
) -> None:
    """Check a BUNDLE's hashes, then its golden samples through every engine that is here.

    With --on, the samples are run on an emulated board; the emulated machine is built first, once.
    Exits with 3 if an engine's results differ from the workstation's; with --on, only engines that
    the board's profile advises count.
    """
    if place is not None:
        _verify_on(bundle, place, pictures, record, as_json)
    elif pictures is not None or record:
        raise click.UsageError("--pictures and --record are for --on emulated:BOARD")
    else:
        _verify_here(bundle, as_json)


def _verify_here(bundle: Path, as_json: bool) -> None:
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import paragraph, print_json
    from edgetl.evaluation.parity import require_parity, verify

    opened = Bundle(bundle)
    reports = verify(opened, make_progress())
    if as_json:
        print_json(reports)
    else:
        members = len(opened.manifest.members())
        click.echo(paragraph(f"{bundle}: {members} members match their sha256"))
        click.echo(parity_table(reports))
    require_parity(reports)


def parity_table(reports: "Sequence[ParityReport]") -> str:
    """Format a line for each artifact and engine, and then what was wrong or is missing."""
    from edgetl.cli.show import paragraph, table

    rows = []
    for r in reports:
        ran = r.status in ("right", "wrong")
        labels = f"{r.same_label}/{r.samples}" if ran else "-"
        difference = f"{r.max_difference:.5f}" if ran else "-"
        rows.append((r.artifact, r.engine, r.status, labels, difference))
    details = dict.fromkeys(
        f"{r.engine if r.status == 'absent' else f'{r.artifact} through {r.engine}'}: {r.detail}"
        for r in reports
        if r.detail
    )
    lines = [table(("artifact", "engine", "status", "labels", "difference"), rows)]
    return "\n".join([*lines, *(paragraph(detail, indent="  ") for detail in details)])


def _verify_on(
    bundle: Path, place: str, pictures: Path | None, record: bool, as_json: bool
) -> None:
    from edgetl.arm_vm.host.boards import find_board
    from edgetl.arm_vm.host.verify import require_parity, verdicts_for_the_bundle, verify_on
    from edgetl.bundle.archive import Bundle, record_verdicts
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.core.errors import DataError
    from edgetl.runtime.sources import pictures_in

    board = find_board(place)
    opened = Bundle(bundle)
    paths = pictures_in(pictures) if pictures else []
    if pictures and not paths:
        raise DataError(f"'{pictures}' holds no pictures.")
    report = verify_on(opened, board, paths, progress=make_progress())
    if as_json:
        print_json(report)
    else:
        click.echo(emulated_table(report))
    if record:
        record_verdicts(opened, verdicts_for_the_bundle(report))
    require_parity(report)


def emulated_table(report: "EmulatedReport") -> str:
    """Format the results on a board, a line for each artifact and engine."""
    from edgetl.cli.show import paragraph, table

    header = ["artifact", "engine", "status", "labels", "logits differ", "peak MB"]
    header += ["decode", "resize", "inference", "pictures", "detail"]
    counted = [row.verdict for row in report.rows if row.verdict.instructions]
    made = any(verdict.stage_pictures == "made" for verdict in counted)
    of = "one made picture of 1280 x 960" if made else "a picture, the median of those given"
    refused = any(row.verdict.refused for row in report.rows)
    return "\n".join(
        (
            paragraph(
                f"{report.bundle} on an emulated {report.board}: {report.processor}, one core, "
                f"{report.memory_mb} MB"
            ),
            table(header, [_cells(row) for row in report.rows], keys=2),
            paragraph(
                f"decode, resize, inference: million ARM instructions for {of}. They say how much "
                "work it is, not how long a board takes."
            ),
            *(["not run: edgetl refuses this engine for this artifact on ARM."] if refused else []),
        )
    )


def _cells(row: "BoardRow") -> list[str]:
    verdict, counts, pictures = row.verdict, row.verdict.instructions, row.pictures
    differs, peak = verdict.max_logit_difference, verdict.peak_memory_bytes
    stages = (counts.decode, counts.resize, counts.inference) if counts else (None,) * 3
    return [
        verdict.artifact,
        f"{verdict.engine} {verdict.version}".strip(),
        f"{verdict.status}, not run" if verdict.refused else verdict.status,
        f"{verdict.same_label}/{verdict.samples}" if verdict.samples else "-",
        "-" if differs is None else "bit-equal" if differs == 0 else f"{differs:.2g}",
        "-" if peak is None else f"{peak / 1e6:.0f}",
        *("-" if count is None else f"{count / 1e6:.1f}" for count in stages),
        "-" if pictures is None else f"{pictures.same_label}/{pictures.images}",
        verdict.detail,
    ]
