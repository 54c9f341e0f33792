"""`edgetl check`."""

from pathlib import Path

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option
from edgetl.data.findings import Case, CheckReport, Finding

_SHOWN = 5


@click.command(
    "check",
    epilog=examples("edgetl check photos/", "edgetl check photos/ --json > findings.json"),
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--val", type=click.Path(path_type=Path), default=None, help="Validation pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with every case.")
@click.option("--strict", is_flag=True, help="Exit 3 on any error or warning.")
@wide_option
def command(data: Path, val: Path | None, as_json: bool, strict: bool) -> None:
    """Check the pictures in DATA before training.

    DATA is as for finetune. Finds broken files, identical and near-identical pictures (with
    different labels, or in different parts), classes too small or uneven, and odd pictures.
    """
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.data.check import check_pictures, require_clean
    from edgetl.data.dataset import read_source
    from edgetl.workstation.datasets.locate import locate

    progress = make_progress()
    report = check_pictures(read_source(locate(data, progress), val), str(data), progress)
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))
    if strict:
        require_clean(report)


def _text(report: CheckReport) -> str:
    from edgetl.cli.show import mb, paragraph, table

    least, median, most = report.short_side_px
    parts = list(report.classes[0].pictures)
    columns = ["pictures" if part == "all" else part for part in parts]
    rows = [(c.label, *(str(c.pictures[part]) for part in parts)) for c in report.classes]
    findings = [paragraph(_finding(finding), indent="    ") for finding in report.findings]
    return "\n\n".join(
        [
            paragraph(
                f"{report.data}: {report.pictures} pictures in {len(report.classes)} classes, "
                f"{mb(report.bytes)} MB, checked in {report.seconds:.1f} s\n"
                f"short side {least} to {most} px, median {median} px"
            ),
            table(("class", *columns), rows),
            *(findings or ["nothing found"]),
        ]
    )


def _finding(finding: Finding) -> str:
    lines = [f"{finding.severity}: {finding.title} ({finding.count})"]
    sign = " ~ " if finding.kind.startswith("near-") else " = "
    lines += [f"  {_case(case, sign)}" for case in finding.cases[:_SHOWN]]
    if finding.count > _SHOWN:
        lines.append(f"  and {finding.count - _SHOWN} more; --json lists them all")
    return "\n".join([*lines, f"  to do: {finding.advice}"])


def _case(case: Case, sign: str) -> str:
    files = sign.join(case.files[:_SHOWN])
    if len(case.files) > _SHOWN:
        files += f" and {len(case.files) - _SHOWN} more"
    if case.files and case.detail:
        return f"{files}: {case.detail}"
    return files or case.detail
