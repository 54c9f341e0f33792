"""`edgetl devices`."""

import click


@click.group("devices")
def command() -> None:
    """The device profiles that come with edgetl."""


@command.command("list")
def list_all() -> None:
    """List them."""
    from edgetl.cli.show import table
    from edgetl.devices.profiles import device_names, load_device

    rows = [(name, load_device(name).description) for name in device_names()]
    click.echo(table(("device", "what it is"), rows))


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print a device's profile."""
    from edgetl.core.schema import to_yaml
    from edgetl.devices.profiles import load_device

    click.echo(to_yaml(load_device(name)), nl=False)
