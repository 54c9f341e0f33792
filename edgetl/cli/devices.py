"""`edgetl devices`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.cli.completion import devices, engines, names
from edgetl.cli.help import examples
from edgetl.cli.hosts import environment_options, session_on, ssh_config_option
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.benchmarking.reports import HostFacts
    from edgetl.devices.profile import ProbeReport
    from edgetl.remote.reports import EnvironmentOnHost


@click.group("devices", epilog=examples("edgetl devices list", "edgetl devices probe"))
def command() -> None:
    """Device profiles: what is known of a board, and which one this machine is."""


@command.command(
    "list", epilog=examples("edgetl devices list", "edgetl devices list --wide | grep faster")
)
@wide_option
def list_all() -> None:
    """List the profiles that come with edgetl."""
    from edgetl.cli.show import table
    from edgetl.devices.profiles import load_devices

    rows = [
        (d.name, d.isa, str(d.cores), str(d.memory_mb), d.python, d.int8, " ".join(d.engines))
        for d in load_devices()
    ]
    header = ("device", "isa", "cores", "RAM MB", "python", "int8", "engines, best first")
    click.echo(table(header, rows))


@command.command(
    "show",
    epilog=examples(
        "edgetl devices show raspberry-pi-4", "edgetl devices show x86-avx2 > my-board.yaml"
    ),
)
@click.argument("device", shell_complete=names(devices, or_file=True))
def show(device: str) -> None:
    """Print a profile.

    DEVICE is the name of one that comes with edgetl, or the path of your own (./my-board.yaml).
    """
    from edgetl.core.schema import to_yaml
    from edgetl.devices.profiles import load_device

    click.echo(to_yaml(load_device(device)), nl=False)


@command.command("probe", epilog=examples("edgetl devices probe", "edgetl devices probe --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@wide_option
def probe_this(as_json: bool) -> None:
    """Recognise this machine, and say what to run on it."""
    from edgetl.cli.show import paragraph, print_json
    from edgetl.devices.probe import probe

    report = probe()
    if as_json:
        print_json(report)
    else:
        click.echo(paragraph("\n".join(_report_lines(report)), indent="  "))


@command.command(
    "setup",
    epilog=examples(
        "edgetl devices setup pi@raspberrypi.local",
        "edgetl devices setup pi@raspberrypi.local --engine litert --offline wheels/",
    ),
)
@click.argument("host")
@click.option("--engine", "chosen", multiple=True, metavar="NAME", shell_complete=names(engines),
              help="The engine to install; may be repeated.  [default: what suits it best]",
              )  # fmt: skip
@environment_options()
@click.option("--remove", is_flag=True, help="Remove what edgetl keeps there, and do nothing else.")
@ssh_config_option()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def set_up_host(
    host: str,
    chosen: tuple[str, ...],
    offline: Path | None,
    python: str | None,
    remove: bool,
    ssh_config: Path | None,
    as_json: bool,
) -> None:
    """Install edgetl on another machine, over SSH, for --on and --inventory.

    HOST is user@host, a name of ~/.ssh/config, or ssh://user@host:port. This edgetl is installed
    there in a virtual environment of its own, in ~/.cache/edgetl/remote. It is made once for each
    version; nothing keeps running.
    """
    from edgetl.cli.show import print_json
    from edgetl.remote.environment import Wanted, remove_all, set_up

    with session_on(host, ssh_config, python) as session:
        if remove:
            folder = remove_all(session.connection)
            text = f"{host}: removed {folder}"
            report: object = {"host": host, "removed": folder}
        else:
            wanted = Wanted(chosen, wheels=offline)
            report = made = set_up(session.connection, wanted, session.progress).report(host)
            text = _environment_text(made)
    if as_json:
        print_json(report)
    else:
        click.echo(text)


def _environment_text(report: "EnvironmentOnHost") -> str:
    state = "made" if report.made else "there already"
    new = f" (new: {', '.join(report.added)})" if report.added and not report.made else ""
    return (
        f"{report.host}: {report.kernel}, {report.bits} bits, C library {report.libc}, "
        f"Python {report.python}\n"
        f"environment: {report.path} ({state})\n"
        f"engines: {', '.join(report.engines)}{new}"
    )


def _report_lines(report: "ProbeReport") -> list[str]:
    """Format the report as lines of text."""
    lines = [_verdict(report), *_host(report.host), "", *_engine_table(report).splitlines()]
    device = report.device
    if device is not None:
        lines += ["", f"int8: {device.int8}. {device.int8_advice}"]
        lines += [f"threads: {report.threads} by default"]
        lines += [f"not measured: {text}" for text in device.not_measured]
    if hint := _missing_engine_hint(report):
        lines.append(f"the best engine here is missing: {hint}")
    return lines


def _verdict(report: "ProbeReport") -> str:
    if report.device is None:
        return f"unknown machine: {report.reason}. Measure with edgetl bench what is fastest here."
    alike = f". It has the cores of {', '.join(report.alike)}" if report.alike else ""
    return f"{report.device.name}: {report.reason}{alike}"


def _host(host: "HostFacts") -> list[str]:
    from edgetl.cli.show import mb

    return [
        f"{host.cpu}, {host.cores} cores, {mb(host.memory_bytes)} MB, "
        f"{host.system}, Python {host.python}",
        f"instructions: {', '.join(host.isa) or 'unknown'}",
    ]


def _engine_table(report: "ProbeReport") -> str:
    from edgetl.cli.show import table

    python = ".".join(report.host.python.split(".")[:2])
    rows = [
        (
            here.engine,
            (here.version or "installed") if here.installed else "missing",
            here.newest or "none known",
            "yes" if here.advised else "unknown" if report.device is None else "no",
        )
        for here in report.engines
    ]
    return table(("engine", "here", f"newest for Python {python}", "advised"), rows)


def _missing_engine_hint(report: "ProbeReport") -> str | None:
    """Return how to install the best engine if it is missing but available for this Python."""
    from edgetl.runtime.engines.registry import ENGINES

    usable = [here for here in report.engines if here.advised and (here.installed or here.newest)]
    return ENGINES[usable[0].engine].install_hint if usable and not usable[0].installed else None
