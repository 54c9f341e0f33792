"""`edgetl verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.hosts import FLEET_OPTIONS, HOST_OPTIONS, fleet_options, host_option, take_where
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.arm_vm.messages import BoardRow, EmulatedReport
    from edgetl.bundle.reports import ParityReport
    from edgetl.cli.hosts import Where
    from edgetl.remote.fleet import Outcome

_EMULATED = "emulated:"
_HEADER = ("artifact", "engine", "status", "labels", "difference")


@click.command(
    "verify",
    cls=SectionedCommand,
    sections={
        "On other machines": (*HOST_OPTIONS, *FLEET_OPTIONS),
        "On an emulated board": ("--pictures", "--record"),
    },
    epilog=examples(
        "edgetl verify model.edgetl",
        "edgetl verify model.edgetl --on pi@raspberrypi.local",
        "edgetl verify model.edgetl --on emulated:raspberry-pi-4 --pictures photos/",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@host_option(
    "Verify on another machine, over SSH (user@host, or a name of ~/.ssh/config), or on an "
    "emulated ARM board, e.g. emulated:raspberry-pi-4."
)
@fleet_options()
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    help="A folder of pictures to classify both there and here.",
)
@click.option("--record", is_flag=True, help="Write the verdicts to the bundle.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(
    bundle: Path, pictures: Path | None, record: bool, as_json: bool, **options: Any
) -> None:
    """Check a BUNDLE's hashes, then its golden samples through every engine that is here.

    With --on or --inventory, the samples are run on other machines, or on an emulated board, which
    is built first, once. Exits with 3 if an engine's results differ from the workstation's; on an
    emulated board, only engines that its profile advises count.
    """
    where = take_where(options)
    emulated = where.place is not None and where.place.startswith(_EMULATED)
    if (pictures is not None or record) and not emulated:
        raise click.UsageError("--pictures and --record are for --on emulated:BOARD")
    if where.place is not None and emulated:
        _verify_on_board(bundle, where.place, pictures, record, as_json)
    elif where.inventory:
        _verify_on_all(bundle, where, as_json)
    else:
        _verify_on_one(bundle, where, as_json)


def _verify_on_one(bundle: Path, where: "Where", as_json: bool) -> None:
    """Verify here, or on the machine of --on."""
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import paragraph, print_json
    from edgetl.evaluation.parity import require_parity, verify

    opened = Bundle(bundle)
    if where.place is None:
        reports = verify(opened, make_progress())
    else:
        from edgetl.cli.hosts import session_on
        from edgetl.remote.commands import verify_there

        with session_on(where.place, where.ssh_config) as session:
            reports = verify_there(session, opened)
    if as_json:
        print_json(reports)
    else:
        members = len(opened.manifest.members())
        click.echo(paragraph(f"{bundle}: {members} members match their sha256"))
        click.echo(parity_table(reports))
    require_parity(reports, where.place or "this machine")


def _verify_on_all(bundle: Path, where: "Where", as_json: bool) -> None:
    """Verify on the hosts of an inventory."""
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.show import print_or_write
    from edgetl.evaluation.parity import require_parity
    from edgetl.remote.commands import verify_there
    from edgetl.remote.fleet import require_all
    from edgetl.remote.reports import VerifyOnHost

    opened = Bundle(bundle)
    outcomes = where.on_all(lambda session: verify_there(session, opened))
    report = [
        VerifyOnHost(
            host=one.host,
            reports=tuple(one.value) if one.value is not None else None,
            error=str(one.error or ""),
            hint=one.error.hint if one.error else "",
        )
        for one in outcomes
    ]
    print_or_write(report, lambda _: _hosts_table(outcomes), Path("-") if as_json else None)
    require_all(outcomes)
    for one in outcomes:
        require_parity(one.value or (), one.host)


def _hosts_table(outcomes: "Sequence[Outcome[list[ParityReport]]]") -> str:
    """Format a line for each host, artifact and engine; absent engines are left out."""
    from edgetl.cli.hosts import error_cell
    from edgetl.cli.show import table

    lines = []
    for one in outcomes:
        if one.value is None:
            lines.append([one.host, *["-"] * len(_HEADER), error_cell(one)])
        else:
            ran = [report for report in one.value if report.status != "absent"]
            lines += [[one.host, *cells] for cells in _lines(ran or one.value)]
    header = ["host", *_HEADER, "detail"]
    if not any(line[-1] for line in lines):
        header, lines = header[:-1], [line[:-1] for line in lines]
    return table(header, lines, keys=2)


def parity_table(reports: "Sequence[ParityReport]") -> str:
    """Format a line for each artifact and engine, and then what was wrong or is missing."""
    from edgetl.cli.show import paragraph, table

    rows = [cells[:-1] for cells in _lines(reports)]
    details = dict.fromkeys(
        f"{r.engine if r.status == 'absent' else f'{r.artifact} through {r.engine}'}: {r.detail}"
        for r in reports
        if r.detail
    )
    lines = [table(_HEADER, rows)]
    return "\n".join([*lines, *(paragraph(detail, indent="  ") for detail in details)])


def _lines(reports: "Sequence[ParityReport]") -> list[list[str]]:
    """The cells of `_HEADER` for each artifact and engine, and the detail."""
    rows = []
    for r in reports:
        ran = r.status in ("right", "wrong")
        labels = f"{r.same_label}/{r.samples}" if ran else "-"
        difference = f"{r.max_difference:.5f}" if ran else "-"
        rows.append([r.artifact, r.engine, r.status, labels, difference, r.detail])
    return rows


def _verify_on_board(
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
