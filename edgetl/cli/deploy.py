"""`edgetl deploy`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from edgetl.cli.deploy_options import (
    effort_options,
    read_deployed_token,
    read_settings,
    service_options,
)
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.hosts import FLEET_OPTIONS, fleet_options, take_where
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.cli.hosts import Where
    from edgetl.remote.address import Address
    from edgetl.remote.commands import Session
    from edgetl.remote.fleet import Outcome

T = TypeVar("T")

# What --status, --rollback and --remove follow.
_OF_ALL = (
    "words", "status", "rollback", "remove", "name", "python", "ssh_config", "inventory", "hosts",
    "at_once", "seed", "as_json", "wide",
)  # fmt: skip


class Options(NamedTuple):
    """The options that are not the service's own."""

    picture: Path | None
    keep: int
    offline: Path | None
    python: str | None
    dry_run: bool
    stages: str | None
    status: bool
    rollback: bool
    remove: bool
    as_json: bool


@click.command(
    "deploy",
    cls=SectionedCommand,
    sections={
        "Instead of deploying": ("--status", "--rollback", "--remove"),
        "What the service does": ("--name", "--watch", "--source", "--every", "--engine",
                                  "--artifact", "--threads", "--collect", "--max-mb"),
        "Its server": ("--host", "--port", "--allow-host", "--token-file", "--no-token"),
        "What it may use": ("--memory", "--group", "--device"),
        "How": ("--picture", "--keep", "--offline", "--python", "--dry-run", "--ssh-config"),
        "On several hosts": (*FLEET_OPTIONS, "--stages"),
    },
    epilog=examples(
        "edgetl deploy pi@pi4 model.edgetl",
        "edgetl deploy pi@pi4 model.edgetl --host 0.0.0.0 --token-file token.txt",
        "edgetl deploy pi@pi4 model.edgetl --name belt --source camera:0 --collect",
        "edgetl deploy pi@pi4 --status",
        "edgetl deploy pi@pi4 --rollback",
        "edgetl deploy --inventory boards.ini model.edgetl --stages 1,10%,100%",
    ),
)  # fmt: skip
@click.argument("words", nargs=-1, metavar="[HOST] [BUNDLE]")
@click.option("--status", is_flag=True, help="Show what runs there.")
@click.option("--rollback", is_flag=True, help="Go back to the release before.")
@click.option("--remove", is_flag=True, help="Stop and remove the service; kept pictures stay.")
@service_options()
@effort_options()
@fleet_options()
@click.option("--stages", default=None, metavar="LIST",
              help="How many hosts have the release after each stage.  "
              "[default: 1,10%,50%,100%]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def command(words: tuple[str, ...], **given: Any) -> None:
    """Install a BUNDLE on HOST as a service of systemd, over SSH.

    The bundle gets an environment of its own there, and is checked before anything is replaced: its
    golden samples, and a picture that must be answered as here. Then the service is switched to it.
    If it does not answer, the release before is put back, and the exit code is 1.

    HOST is user@host, a name of ~/.ssh/config, or ssh://user@host:port. The login is root's, or its
    sudo works without a password. With --inventory, HOST is left out.
    """
    options = Options(**{name: given.pop(name) for name in Options._fields})
    where = take_where({**given, "place": None})
    for name in where._fields:
        given.pop(name, None)
    if options.dry_run and options.as_json:
        raise click.UsageError("--dry-run prints the unit: not with --json.")
    acts = sum((options.status, options.rollback, options.remove))
    if acts > 1:
        raise click.UsageError("--status, --rollback and --remove exclude each other.")
    if options.stages and not where.inventory:
        raise click.UsageError("--stages belongs to a deployment with --inventory.")
    if acts:
        _refuse_other_options()
    wanted = [*([] if where.inventory else ["HOST"]), *([] if acts else ["BUNDLE"])]
    if len(words) != len(wanted):
        raise click.UsageError(f"What is needed: {' '.join(wanted) or 'no argument'}.")
    where = where._replace(place=None if where.inventory else words[0])
    if acts:
        _act(where, given["name"], options)
    else:
        _deploy(where, Path(words[-1]), given, options)


def _refuse_other_options() -> None:
    """Raise UsageError if an option was given that only a deployment follows."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "")
        if given is ParameterSource.COMMANDLINE and parameter.name not in _OF_ALL:
            raise click.UsageError(f"{parameter.opts[0]} belongs to a deployment.")


def _deploy(where: "Where", bundle: Path, given: dict[str, Any], options: Options) -> None:
    from edgetl.bundle.archive import Bundle
    from edgetl.cli import deploy_text as text
    from edgetl.cli.progress import make_progress
    from edgetl.remote.deployment.deploy import Effort, deploy
    from edgetl.remote.deployment.plan import plan_release
    from edgetl.remote.deployment.rollout import DEFAULT_STAGES, parse_stages, roll_out
    from edgetl.remote.fleet import FleetOptions

    settings = read_settings(given)
    token = read_deployed_token(settings, given["token_file"], given["no_token"])
    plan = plan_release(Bundle(bundle), settings, token=token, picture=options.picture)
    effort = Effort(options.offline, options.keep)
    addresses = _addresses(where, options) if where.inventory else []
    stages = parse_stages(options.stages or DEFAULT_STAGES, len(addresses)) if addresses else []
    if options.dry_run:
        click.echo(text.dry_run_text(plan, effort, [a.name for a in addresses], stages), nl=False)
    elif where.inventory:
        fleet = FleetOptions(where.ssh_config, where.at_once, where.seed)
        outcomes = roll_out(
            addresses, stages, lambda session: deploy(session, plan, effort), fleet, make_progress()
        )
        _show_all(outcomes, text.deployed_table, options)
    else:
        report = _on_one(where, options, lambda session: deploy(session, plan, effort))
        _show(report, text.deployed_text, options)


def _act(where: "Where", name: str, options: Options) -> None:
    """Show, roll back or remove a service."""
    from edgetl.cli import deploy_text as text
    from edgetl.remote.deployment.deploy import remove, roll_back, status_of
    from edgetl.remote.deployment.settings import Settings, checked

    checked(Settings(name=name))
    if options.status:
        _do(
            where,
            options,
            lambda session: status_of(session, name),
            text.status_text,
            text.status_table,
        )
    elif options.rollback:
        _do(where, options, lambda session: roll_back(session, name), text.deployed_text,
            text.deployed_table)  # fmt: skip
    else:
        _do(
            where,
            options,
            lambda session: remove(session, name),
            text.removed_text,
            text.removed_table,
        )


def _do(
    where: "Where",
    options: Options,
    work: "Callable[[Session], T]",
    one_text: "Callable[[T], str]",
    all_text: "Callable[[Sequence[Outcome[T]]], str]",
) -> None:
    """Do some work on the host, or on all hosts at once, and show the reports."""
    from edgetl.cli.progress import make_progress
    from edgetl.remote.deployment.rollout import roll_out
    from edgetl.remote.fleet import FleetOptions

    if not where.inventory:
        _show(_on_one(where, options, work), one_text, options)
        return
    addresses = _addresses(where, options)
    fleet = FleetOptions(where.ssh_config, where.at_once, where.seed)
    outcomes = roll_out(addresses, [len(addresses)], work, fleet, make_progress())
    _show_all(outcomes, all_text, options)


def _on_one(where: "Where", options: Options, work: "Callable[[Session], T]") -> T:
    """Do some work on the host. Raises EdgetlError, after the journal's lines have been printed."""
    from edgetl.cli.hosts import session_on
    from edgetl.remote.deployment.reports import DeployError

    with session_on(str(where.place), where.ssh_config, options.python) as session:
        try:
            return work(session)
        except DeployError as error:
            _print_log(session.name, error.log)
            raise


def _addresses(where: "Where", options: Options) -> "list[Address]":
    """The hosts of the inventory, with the Python of --python."""
    from edgetl.remote.address import checked

    found = where.addresses()
    python = options.python
    return [checked(one._replace(python=python)) for one in found] if python else found


def _show(report: T, text: "Callable[[T], str]", options: Options) -> None:
    from edgetl.cli.show import print_json

    if options.as_json:
        print_json(report)
    else:
        click.echo(text(report))


def _show_all(
    outcomes: "Sequence[Outcome[T]]",
    text: "Callable[[Sequence[Outcome[T]]], str]",
    options: Options,
) -> None:
    """Show what became of all hosts. Raises RemoteError, at the end, if one failed."""
    from edgetl.cli.show import print_json
    from edgetl.remote.deployment.reports import DeployError, OnHost
    from edgetl.remote.fleet import require_all

    if options.as_json:
        hints = [one.error.hint if one.error else "" for one in outcomes]
        print_json(
            [
                OnHost(host=one.host, report=one.value, error=str(one.error or ""), hint=hint)
                for one, hint in zip(outcomes, hints, strict=True)
            ]
        )
    else:
        click.echo(text(outcomes))
    for one in outcomes:
        if isinstance(one.error, DeployError):
            _print_log(one.host, one.error.log)
    require_all(
        outcomes,
        hint="the table has each one's error. The same command goes on with the rest.",
    )


def _print_log(host: str, log: "Sequence[str]") -> None:
    if log:
        click.echo(f"The last lines of the service's journal on {host}:", err=True)
    for line in log:
        click.echo(f"  {line}", err=True)
