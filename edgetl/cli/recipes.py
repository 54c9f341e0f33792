"""`edgetl recipes`."""

import click

from edgetl.cli.completion import names, recipes
from edgetl.cli.help import examples
from edgetl.cli.show import wide_option


@click.group("recipes", epilog=examples("edgetl recipes list", "edgetl recipes show edge-default"))
def command() -> None:
    """The recipes that come with edgetl."""


@command.command(
    "list", epilog=examples("edgetl recipes list", "edgetl recipes list --wide | grep adam")
)
@wide_option
def list_all() -> None:
    """List them."""
    from edgetl.cli.show import table
    from edgetl.core.shipped import shipped_names
    from edgetl.workstation.recipe import load_recipe

    rows = [(name, load_recipe(name).description) for name in shipped_names("recipes")]
    click.echo(table(("recipe", "what it does"), rows))


@command.command(
    "show",
    epilog=examples(
        "edgetl recipes show edge-default", "edgetl recipes show edge-fast > my-recipe.yaml"
    ),
)
@click.argument("name", shell_complete=names(recipes))
def show(name: str) -> None:
    """Print a recipe with every default filled in."""
    from edgetl.core.schema import to_yaml
    from edgetl.workstation.recipe import load_recipe

    click.echo(to_yaml(load_recipe(name)), nl=False)
