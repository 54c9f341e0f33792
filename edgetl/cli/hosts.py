"""What the commands that work on other machines share: options, sessions, errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from edgetl.benchmarking.reports import BenchReport
    from edgetl.cli.options import Decorator
    from edgetl.core.errors import EdgetlError
    from edgetl.remote.address import Address
    from edgetl.remote.commands import Session
    from edgetl.remote.fleet import Outcome
    from edgetl.remote.results import Results

T = TypeVar("T")

HOST_OPTIONS = ("--on", "--ssh-config")
FLEET_OPTIONS = ("--inventory", "--hosts", "--at-once", "--seed")


class Where(NamedTuple):
    """On which machines a command works: the values of `host_option` and `fleet_options`."""

    place: str | None
    ssh_config: Path | None
    inventory: Path | None
    hosts: str | None
    at_once: int
    seed: int

    @property
    def elsewhere(self) -> bool:
        """Whether that is another machine than this one."""
        return bool(self.place or self.inventory)

    def on_all(self, work: "Callable[[Session], T]") -> "list[Outcome[T]]":
        """Do some work on every host of the inventory that was chosen. Raises SchemaError."""
        from edgetl.cli.progress import make_progress
        from edgetl.remote.fleet import FleetOptions, on_hosts

        options = FleetOptions(self.ssh_config, self.at_once, self.seed)
        return on_hosts(self.addresses(), work, options, make_progress())

    def addresses(self) -> "list[Address]":
        """The hosts of the inventory that were chosen. Raises SchemaError."""
        from edgetl.cli.messages import print_warning
        from edgetl.remote.inventory import read_inventory, unread_folders

        assert self.inventory
        for folder in unread_folders(self.inventory):
            print_warning(f"'{folder}' is not read: edgetl takes variables from the inventory.")
        return read_inventory(self.inventory).select(self.hosts or "all")


class ResultStore:
    """Adds reports to a file of results, which is opened at once.

    A report that cannot be added is printed all the same; `require_complete` raises the error.

    Args:
        file: None: the default one.
        wanted: whether reports are stored at all.
    """

    def __init__(self, file: Path | None, *, wanted: bool) -> None:
        self._results = _opened(file) if wanted else None
        self._failure: EdgetlError | None = None

    def add(self, report: "BenchReport", host: str) -> None:
        """Add a report; `host` is what the user calls the machine."""
        from edgetl.core.errors import EdgetlError

        try:
            if self._results:
                self._results.store(report, host)
        except EdgetlError as error:
            self._failure = error

    def require_complete(self) -> None:
        """Raises EdgetlError if a report could not be added."""
        if self._failure:
            raise self._failure


def _opened(file: Path | None) -> "Results":
    from edgetl.remote.results import Results, default_file

    return Results(file or default_file())


def host_option(text: str) -> "Decorator":
    """Add --on, as `place`, and --ssh-config; `text` is the help of the first."""
    return adding(
        click.option("--on", "place", default=None, metavar="HOST", help=text), ssh_config_option()
    )


def ssh_config_option() -> "Decorator":
    """Add --ssh-config."""
    config = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option("--ssh-config", type=config, default=None, metavar="FILE",
                        help="An ssh configuration to use instead of ~/.ssh/config.")  # fmt: skip


def environment_options() -> "Decorator":
    """Add --offline and --python: what an environment on another machine is made of."""
    return adding(
        click.option("--offline", type=click.Path(file_okay=False, path_type=Path), default=None,
                     metavar="WHEELS_DIR", help="The host has no network: send the packages from "
                     "this folder; what is missing there is downloaded into it."),
        click.option("--python", default=None, metavar="PATH",
                     help="The Python there.  [default: python3]"),
    )  # fmt: skip


def fleet_options() -> "Decorator":
    """Add --inventory, --hosts, --at-once and --seed; `take_where` takes them."""
    return adding(
        click.option("--inventory", type=click.Path(path_type=Path), default=None, metavar="FILE",
                     help="On the hosts of an Ansible inventory (INI or YAML)."),
        click.option("--hosts", default=None, metavar="PATTERN",
                     help="Only on these hosts or groups, e.g. 'pi*,!pi3'.  [default: all]"),
        click.option("--at-once", type=click.IntRange(1, 100), default=8, show_default=True,
                     metavar="N", help="On so many hosts at the same time."),
        click.option("--seed", type=int, default=0, show_default=True,
                     help="Of the random order in which the hosts begin."),
    )  # fmt: skip


def adding(*options: "Decorator") -> "Decorator":
    """Add options to a command, in their order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def take_where(options: dict[str, Any]) -> Where:
    """Take the values of `host_option` and `fleet_options` out of a command's options.

    Raises UsageError if they exclude each other.
    """
    where = Where(*(options.pop(name) for name in Where._fields))
    if where.place and where.inventory:
        raise click.UsageError("--on and --inventory exclude each other.")
    if where.hosts and not where.inventory:
        raise click.UsageError("--hosts belongs to --inventory.")
    return where


@contextmanager
def session_on(
    place: str, ssh_config: Path | None, python: str | None = None
) -> "Iterator[Session]":
    """A session on a host, with a Python there. Raises RemoteError, which says what to do."""
    from edgetl.cli.progress import make_progress
    from edgetl.remote.address import checked, parse_address
    from edgetl.remote.commands import Session
    from edgetl.remote.connection import Connection

    address = checked(parse_address(place)._replace(python=python))
    with Connection(address, ssh_config=ssh_config) as connection:
        yield Session(connection, make_progress())


def error_cell(outcome: "Outcome[Any]") -> str:
    """A host's error and hint, for a table."""
    assert outcome.error
    hint = f" Hint: {outcome.error.hint}" if outcome.error.hint else ""
    return f"{outcome.error}{hint}"
