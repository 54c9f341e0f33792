"""The options of `edgetl deploy` that say what a service does and how it gets to a host."""

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.hosts import adding, environment_options, ssh_config_option
from edgetl.cli.options import POSITIVE, artifact_option, engine_option, threads_option

if TYPE_CHECKING:
    from edgetl.cli.options import Decorator
    from edgetl.remote.deployment.settings import Settings

_SERVER = ("host", "port", "token_file", "no_token", "allow_host")


def service_options() -> "Decorator":
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
    return adding(*each)


def effort_options() -> "Decorator":
    """Add the options that say how a release gets to a host."""
    path = click.Path(path_type=Path)
    each = (
        click.option("--picture", type=path, default=None, metavar="FILE",
                     help="A picture that the host must answer as this machine does.  "
                     "[default: a golden sample]"),
        click.option("--keep", type=click.IntRange(1, 100), default=3, show_default=True,
                     metavar="N", help="How many releases are kept there."),
        environment_options(),
        click.option("--dry-run", is_flag=True,
                     help="Print the unit and what would be done; reach no host."),
        ssh_config_option(),
    )  # fmt: skip
    return adding(*each)


def read_settings(given: dict[str, Any]) -> "Settings":
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


def read_deployed_token(settings: "Settings", file: Path | None, no_token: bool) -> str | None:
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
