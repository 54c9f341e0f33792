"""`edgetl doctor`."""

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for a bug report.")
def command(as_json: bool) -> None:
    """Show which engines and workstation libraries are installed here, and how to get the rest."""
    from edgetl import __version__
    from edgetl.benchmarking.host import host_facts
    from edgetl.cli.show import print_json, table
    from edgetl.core.files import cache_folder

    host, cache, rows, problems = host_facts(), str(cache_folder()), _rows(), _problems()
    if as_json:
        libraries = [
            {"purpose": what, "library": name, "version": version, "to_install": hint or None}
            for what, name, version, hint in rows
        ]
        report = {"edgetl": __version__, "host": host, "cache": cache}
        print_json(report | {"libraries": libraries, "problems": problems})
        return
    click.echo(f"edgetl {__version__}, Python {host.python}, {host.cpu}, {host.cores} cores")
    click.echo(f"cache {cache}\n")
    columns = ("what for", "library", "version", "to install it")
    click.echo(table(columns, [(w, n, v or "missing", hint) for w, n, v, hint in rows]))
    for problem in problems:
        click.echo(f"\n{problem}")


def _rows() -> list[tuple[str, str, str | None, str]]:
    """List (what for, library, version or None, how to install it) of optional libraries."""
    from edgetl.runtime.engines.registry import ENGINES
    from edgetl.workstation.export.formats.registry import format_libraries
    from edgetl.workstation.libraries import TRAINING, is_here, version_of

    libraries = [(f"engine {e.name}", e.library, e.install_hint) for e in ENGINES.values()]
    libraries += [("train", name, "pip install 'edgetl[train]'") for name in TRAINING]
    libraries += [("export", name, "pip install 'edgetl[export]'") for name in format_libraries()]
    return [
        (what, name, version_of(name), "") if is_here(name) else (what, name, None, hint)
        for what, name, hint in libraries
    ]


def _problems() -> list[str]:
    """Describe why entry points of other packages cannot be used."""
    from edgetl.runtime.engines.registry import ENGINES
    from edgetl.workstation.backbones.catalogue import BACKBONES
    from edgetl.workstation.export.formats.registry import FORMATS

    return [*ENGINES.problems(), *FORMATS.problems(), *BACKBONES.problems()]
