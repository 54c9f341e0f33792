"""`edgetl recipes`."""

import click


@click.group("recipes")
def command() -> None:
    """The recipes that come with edgetl."""


@command.command("list")
def list_all() -> None:
    """List them."""
    from edgetl.cli.show import table
    from edgetl.core.shipped import shipped_names
    from edgetl.workstation.recipe import load_recipe

    rows = [(name, load_recipe(name).description) for name in shipped_names("recipes")]
    click.echo(table(("recipe", "what it does"), rows))


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe with every default filled in."""
    from edgetl.core.schema import to_yaml
    from edgetl.workstation.recipe import load_recipe

    click.echo(to_yaml(load_recipe(name)), nl=False)
