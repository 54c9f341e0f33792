"""`edgetl verify`."""

from pathlib import Path

import click


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(bundle: Path, as_json: bool) -> None:
    """Check a BUNDLE's hashes, then its golden samples through every engine that is here.

    Exits with 3 if an engine answers otherwise than the workstation did.
    """
    from edgetl.cli.show import print_json, table
    from edgetl.core.bundle import Bundle
    from edgetl.verify.parity import check_parity, require_right

    opened = Bundle(bundle)
    reports = check_parity(opened)
    if as_json:
        print_json(reports)
    else:
        click.echo(f"{bundle}: {len(opened.manifest.members())} members match their sha256")
        rows = [
            (
                r.artifact,
                r.engine,
                r.status,
                f"{r.same_label}/{r.samples}" if r.status in ("right", "wrong") else "-",
                f"{r.max_difference:.5f}" if r.status in ("right", "wrong") else "-",
                r.detail,
            )
            for r in reports
        ]
        click.echo(table(("artifact", "engine", "status", "labels", "difference", "detail"), rows))
    require_right(reports)
