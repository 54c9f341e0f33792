"""`edgetl deploy`."""

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.hosts import FLEET_OPTIONS, fleet_options, take_where
from edgetl.cli.options import POSITIVE, artifact_option, engine_option, threads_option
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.cli.hosts import Where
    from edgetl.cli.options import Decorator
    from edgetl.remote.address import Address
    from edgetl.remote.deployment.deploy import Host
    from edgetl.remote.deployment.settings import Settings
    from edgetl.remote.fleet import Outcome

T = TypeVar("T")

_ACTIONS = ("status", "rollback", "remove")
_SERVER = ("host", "port", "token_file", "no_token", "allow_host")


def _service_options() -> "Decorator":
    """Add the options of `Settings`, and the token's."""
    path = click.Path(path_type=Path)
    each = (
        click.option("--name", default="classifier", show_default=True, metavar="NAME",
                     help="The service's name: edgetl-NAME.service. One host may have several."),
        click.option("--watch", default=None, metavar="DIR",
                     help="Classify the pictures that arrive in DIR there, and do not serve."),
        click.option("--source", default=None, metavar="SOURCE",
                     help="Classify a camera or stream there, e.g. camera:0, and do not serve."),
        click.option("--every", type=POSITIVE, default=None, metavar="S",
                     help="With --source: one frame each S seconds."),
        click.option("--collect", is_flag=True,
                     help="Keep pictures there, in /var/lib/edgetl/NAME/kept."),
        click.option("--max-mb", type=POSITIVE, default=None, metavar="MB",
                     help="What the kept pictures may take.  [default: 500]"),
        engine_option("The engine to install and run, or auto: what suits the host best."),
        artifact_option("The artifact, e.g. onnx-int8.  [default: int8 if the bundle has it]"),
        threads_option("as tuned, else the device profile's, else one per core"),
        click.option("--host", default=None, metavar="ADDRESS",
                     help="The address to listen on; 0.0.0.0 is every address of the host.  "
                     "[default: 127.0.0.1]"),
        click.option("--port", type=click.IntRange(1, 65535), default=None,
                     help="[default: 8000]"),
        click.option("--allow-host", multiple=True, metavar="NAME",
                     help="Another name of the server, e.g. behind a proxy; can be repeated."),
        click.option("--token-file", type=path, default=None, metavar="FILE",
                     help="Require the token in this file, which is here.  "
                     "[default: $EDGETL_TOKEN, else none]"),
        click.option("--no-token", is_flag=True,
                     help="Let everyone who can reach the server use it."),
        click.option("--memory", default="75%", show_default=True, metavar="SIZE",
                     help="What the service may take: a share of the host's memory, or e.g. 600M."),
        click.option("--group", "groups", multiple=True, metavar="NAME",
                     help="Let it read what this group may; can be repeated."),
        click.option("--device", "devices", multiple=True, metavar="PATH",
                     help="Let it use a device, e.g. /dev/dri/renderD128; can be repeated."),
    )  # fmt: skip
    return _adding(each)


def _effort_options() -> "Decorator":
    """Add the options that say how a release gets to a host."""
    path = click.Path(path_type=Path)
    each = (
        click.option("--picture", type=path, default=None, metavar="FILE",
                     help="A picture that the host must answer as this machine does.  "
                     "[default: a golden sample]"),
        click.option("--keep", type=click.IntRange(1, 100), default=3, show_default=True,
                     metavar="N", help="How many releases are kept there."),
        click.option("--offline", type=click.Path(file_okay=False, path_type=Path), default=None,
                     metavar="WHEELS_DIR", help="The host has no network: send the packages from "
                     "this folder; what is missing there is downloaded into it."),
        click.option("--python", default=None, metavar="PATH",
                     help="The Python there.  [default: python3]"),
        click.option("--dry-run", is_flag=True,
                     help="Print the unit and what would be done; reach no host."),
        click.option("--ssh-config", default=None, metavar="FILE",
                     type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="An ssh configuration to use instead of ~/.ssh/config."),
    )  # fmt: skip
    return _adding(each)


def _adding(options: "tuple[Decorator, ...]") -> "Decorator":
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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
        "edgetl deploy pi@raspberrypi.local model.edgetl",
        "edgetl deploy pi@raspberrypi.local model.edgetl --host 0.0.0.0 --token-file token.txt",
        "edgetl deploy pi@raspberrypi.local model.edgetl --name belt --source camera:0 --collect",
        "edgetl deploy pi@raspberrypi.local --status",
        "edgetl deploy pi@raspberrypi.local --rollback",
        "edgetl deploy --inventory boards.ini model.edgetl --stages 1,10%,100%",
    ),
)  # fmt: skip
@click.argument("words", nargs=-1, metavar="[HOST] [BUNDLE]")
@click.option("--status", is_flag=True, help="Show what runs there.")
@click.option("--rollback", is_flag=True, help="Go back to the release before.")
@click.option("--remove", is_flag=True, help="Stop and remove the service; kept pictures stay.")
@_service_options()
@_effort_options()
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
    if sum((options.status, options.rollback, options.remove)) > 1:
        raise click.UsageError("--status, --rollback and --remove exclude each other.")
    acts = options.status or options.rollback or options.remove
    if options.stages and (acts or not where.inventory):
        raise click.UsageError("--stages belongs to a deployment with --inventory.")
    wanted = [*([] if where.inventory else ["HOST"]), *([] if acts else ["BUNDLE"])]
    if len(words) != len(wanted):
        raise click.UsageError(f"What is needed: {' '.join(wanted) or 'no argument'}.")
    where = where._replace(place=None if where.inventory else words[0])
    if acts:
        _act(where, given["name"], options)
    else:
        _deploy(where, Path(words[-1]), given, options)


def _deploy(where: "Where", bundle: Path, given: dict[str, Any], options: Options) -> None:
    from edgetl.bundle.archive import Bundle
    from edgetl.cli import deploy_text as text
    from edgetl.cli.progress import make_progress
    from edgetl.remote.deployment.deploy import Effort, deploy
    from edgetl.remote.deployment.plan import plan_release
    from edgetl.remote.deployment.rollout import DEFAULT_STAGES, parse_stages, roll_out
    from edgetl.remote.fleet import FleetOptions

    settings = _settings(given)
    token = _token(settings, given["token_file"], given["no_token"])
    plan = plan_release(Bundle(bundle), settings, token=token, picture=options.picture)
    effort = Effort(options.offline, options.keep)
    addresses = _addresses(where, options) if where.inventory else []
    stages = parse_stages(options.stages or DEFAULT_STAGES, len(addresses)) if addresses else []
    if options.dry_run:
        click.echo(text.dry_run_text(plan, effort, [a.name for a in addresses], stages), nl=False)
    elif where.inventory:
        fleet = FleetOptions(where.ssh_config, where.at_once, where.seed)
        outcomes = roll_out(
            addresses, stages, lambda host: deploy(host, plan, effort), fleet, make_progress()
        )
        _show_all(outcomes, text.deployed_table, options)
    else:
        report = _on_one(where, options, lambda host: deploy(host, plan, effort))
        _show(report, text.deployed_text, options)


def _act(where: "Where", name: str, options: Options) -> None:
    """Show, roll back or remove a service."""
    from edgetl.cli import deploy_text as text
    from edgetl.remote.deployment.deploy import remove, roll_back, status_of

    if options.dry_run:
        raise click.UsageError("--dry-run belongs to a deployment.")
    if options.status:
        _do(where, options, lambda host: status_of(host, name), text.status_text, text.status_table)
    elif options.rollback:
        _do(where, options, lambda host: roll_back(host, name), text.deployed_text,
            text.deployed_table)  # fmt: skip
    else:
        _do(where, options, lambda host: remove(host, name), text.removed_text, text.removed_table)


def _do(
    where: "Where",
    options: Options,
    work: "Callable[[Host], T]",
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


def _on_one(where: "Where", options: Options, work: "Callable[[Host], T]") -> T:
    """Do some work on the host. Raises EdgetlError, after the journal's lines have been printed."""
    from edgetl.cli.progress import make_progress
    from edgetl.remote.address import checked, parse_address
    from edgetl.remote.deployment.agent import RootConnection
    from edgetl.remote.deployment.deploy import Host
    from edgetl.remote.deployment.reports import DeployError

    address = checked(parse_address(str(where.place))._replace(python=options.python))
    with RootConnection(address, ssh_config=where.ssh_config) as connection:
        try:
            return work(Host(connection, make_progress()))
        except DeployError as error:
            _print_log(address.name, error.log)
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
    from edgetl.remote.deployment.rollout import require_all

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
    require_all(outcomes)


def _print_log(host: str, log: "Sequence[str]") -> None:
    if log:
        click.echo(f"The last lines of the service's journal on {host}:", err=True)
    for line in log:
        click.echo(f"  {line}", err=True)


def _settings(given: dict[str, Any]) -> "Settings":
    """The settings of the service that the options describe. Raises UsageError, SchemaError."""
    from edgetl.remote.deployment.settings import Settings, checked

    if given["watch"] and given["source"]:
        raise click.UsageError("--watch and --source exclude each other.")
    if given["every"] and not given["source"]:
        raise click.UsageError("--every belongs to --source.")
    if given["max_mb"] and not given["collect"]:
        raise click.UsageError("--max-mb belongs to --collect.")
    if given["watch"] or given["source"]:
        for name in _SERVER:
            if given[name]:
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} is for a server: not with --watch or --source.")
    return checked(
        Settings(
            name=given["name"],
            watch=given["watch"] or "",
            source=given["source"] or "",
            host=given["host"] or "127.0.0.1",
            port=given["port"] or 8000,
            allow_host=given["allow_host"],
            engine=given["engine"],
            artifact=given["artifact"] or "",
            threads=given["threads"],
            every_s=given["every"],
            collect=given["collect"],
            max_mb=given["max_mb"],
            memory=given["memory"],
            groups=given["groups"],
            devices=given["devices"],
        )
    )


def _token(settings: "Settings", file: Path | None, no_token: bool) -> str | None:
    """The token of a server. Raises UsageError if others could use it without one."""
    from edgetl.serving.token import read_token

    if not settings.serves or no_token:
        return None
    token = read_token(file)
    if token is None and not _is_loopback(settings.host):
        raise click.UsageError(
            f"Everyone who can reach {settings.host} could use this server: give it a --token-file "
            "FILE, or --no-token."
        )
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
