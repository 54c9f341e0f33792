"""`edgetl doctor`."""

import click


@click.command("doctor")
def command() -> None:
    """Show which engines and workstation libraries are installed here, and how to get the rest."""
    from edgetl import __version__
    from edgetl.benchmarking.host import host_facts
    from edgetl.cli.show import table
    from edgetl.core.files import cache_folder

    host = host_facts()
    click.echo(f"edgetl {__version__}, Python {host.python}, {host.cpu}, {host.cores} cores")
    click.echo(f"cache {cache_folder()}\n")
    click.echo(table(("what for", "library", "version", "to install it"), _rows()))
    for problem in _problems():
        click.echo(f"\n{problem}")


def _rows() -> list[tuple[str, str, str, str]]:
    """List (what for, library, version or "missing", how to install it) of optional libraries."""
    from edgetl.runtime.engines.registry import ENGINES
    from edgetl.workstation.export.formats.registry import format_libraries
    from edgetl.workstation.libraries import TRAINING, is_here, version_of

    libraries = [(f"engine {e.name}", e.library, e.install_hint) for e in ENGINES.values()]
    libraries += [("train", name, "pip install 'edgetl[train]'") for name in TRAINING]
    libraries += [("export", name, "pip install 'edgetl[export]'") for name in format_libraries()]
    return [
        (what, name, version_of(name), "") if is_here(name) else (what, name, "missing", hint)
        for what, name, hint in libraries
    ]


def _problems() -> list[str]:
    """Describe why entry points of other packages cannot be used."""
    from edgetl.runtime.engines.registry import ENGINES
    from edgetl.workstation.backbones.catalogue import BACKBONES
    from edgetl.workstation.export.formats.registry import FORMATS

    return [*ENGINES.problems(), *FORMATS.problems(), *BACKBONES.problems()]
