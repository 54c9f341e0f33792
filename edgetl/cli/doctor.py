"""`edgetl doctor`."""

import click


@click.command("doctor")
def command() -> None:
    """Show which engines and workshop libraries are installed here, and how to get the rest."""
    from edgetl import __version__
    from edgetl.bench.host import host_facts
    from edgetl.cli.show import table
    from edgetl.core.cache import cache_folder
    from edgetl.pipeline.installed import doctor_rows

    host = host_facts()
    click.echo(f"edgetl {__version__}, Python {host.python}, {host.cpu}, {host.cores} cores")
    click.echo(f"cache {cache_folder()}\n")
    click.echo(table(("what for", "library", "version", "to install it"), doctor_rows()))
