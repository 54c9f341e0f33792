"""edgetl's environment on another machine: made once for each version of edgetl."""

import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from edgetl.bundle.manifest import Name
from edgetl.core.errors import SchemaError
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen, convert, to_json
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import last_line
from edgetl.remote.connection import Connection
from edgetl.remote.content import Content
from edgetl.remote.engines import best_engine, checked_engine
from edgetl.remote.facts import SystemFacts, require_usable
from edgetl.remote.jobs import Job, run_job
from edgetl.remote.offline import carried_wheels, platform_of
from edgetl.remote.reports import EnvironmentOnHost
from edgetl.remote.wheel import own_wheel
from edgetl.runtime.engines.registry import ENGINES

# numpy, Pillow and the smallest engine take about as much.
_LEAST_BYTES = 250_000_000
# Parts of what pip prints.
_NO_NETWORK = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "SSLError")
_NO_PACKAGE = ("No matching distribution", "Could not find a version")


class EnvironmentRecord(Frozen, kw_only=True, frozen=True):
    """What setup records on the machine when an environment is complete.

    Attributes:
        edgetl: the version of edgetl.
        python: the path of the Python that it was made with.
        version: of that Python, e.g. "3.11"; with another one at that path it works no more.
        engines: what is installed besides.
    """

    edgetl: str
    python: str
    version: str
    engines: tuple[Name, ...]


class Environment(NamedTuple):
    """An environment on a machine.

    Attributes:
        facts: of the machine.
        path: its folder there.
        engines: the engines in it.
        made: whether it was made now.
        added: the engines that were installed now.
    """

    facts: SystemFacts
    path: str
    engines: tuple[str, ...]
    made: bool
    added: tuple[str, ...]

    @property
    def python(self) -> str:
        """The path of its Python."""
        return f"{self.path}/bin/python"

    def report(self, host: str) -> EnvironmentOnHost:
        """What there is to say of it; `host` is the machine's name."""
        facts = self.facts
        return EnvironmentOnHost(
            host=host,
            kernel=facts.kernel,
            bits=facts.bits,
            libc=f"{facts.libc} {facts.libc_version}".strip() or "unknown",
            python=facts.python,
            path=self.path,
            engines=self.engines,
            made=self.made,
            added=self.added,
        )


class Wanted(NamedTuple):
    """What an environment is for.

    Attributes:
        engines: names of engines, with or without a provider. Empty: the one that suits the
            machine best is installed if none is there.
        formats: those of the bundle, one of which an engine must run; empty: any.
        wheels: a folder of packages to send along, because the machine has no network; None: pip
            fetches them there.
    """

    engines: Sequence[str] = ()
    formats: Collection[str] = ()
    wheels: Path | None = None


def set_up(
    connection: Connection,
    wanted: Wanted,
    progress: Progress,
    stop: threading.Event | None = None,
) -> Environment:
    """Make edgetl's environment on a machine, or add engines to it; nothing if all is there.

    Args:
        connection: to the machine.
        wanted: what is needed.
        progress: where progress is shown.
        stop: ends it if another thread sets it.

    Raises RemoteError if the machine cannot run edgetl, with what to do.
    """
    name, wheel = connection.address.name, own_wheel()
    facts = connection.facts(wheel.key)
    require_usable(facts, connection.address)
    path = f"{facts.folder}/{wheel.key}"
    found = recorded(facts, connection.address.python)
    here = found.engines if found else ()
    added = tuple(engine for engine in _engines(wanted, here, facts, name) if engine not in here)
    if found and not added:
        return Environment(facts, path, here, made=False, added=())
    engines = (*here, *added)
    wanted_here = Installation(path, engines, wanted.wheels, f"edgetl devices setup {name}")
    install(connection, facts, wanted_here, progress, stop, anew=found is None)
    return Environment(facts, path, engines, made=found is None, added=added)


class Installation(NamedTuple):
    """What to install, and where.

    Attributes:
        path: the environment's folder on the machine.
        extras: of edgetl, engines among them.
        wheels: a folder of packages to send along; None: pip fetches them there.
        command: the command that the user has typed, for hints.
        system: whether it sees the packages of the system's Python, too.
    """

    path: str
    extras: tuple[str, ...]
    wheels: Path | None
    command: str
    system: bool = False


def install(
    connection: Connection,
    facts: SystemFacts,
    wanted: Installation,
    progress: Progress,
    stop: threading.Event | None = None,
    *,
    anew: bool,
) -> None:
    """Install this edgetl in an environment on a machine.

    Args:
        connection: to the machine.
        facts: of the machine.
        wanted: what to install.
        progress: where progress is shown.
        stop: ends it if another thread sets it.
        anew: whether the environment is made first, in place of what is there.

    Raises RemoteError, which says what to do, if it fails.
    """
    name, wheel = connection.address.name, own_wheel()
    if facts.free_bytes < _LEAST_BYTES:
        raise _no_space(name, facts)
    progress.say(f"{name}: installing edgetl {wheel.version} with {', '.join(wanted.extras)}")
    files: dict[str, Content] = {wheel.file: wheel.content}
    if wanted.wheels is not None:
        platform = platform_of(facts, name)
        files |= carried_wheels(wheel, wanted.extras, platform, wanted.wheels, progress)
    record = EnvironmentRecord(
        edgetl=wheel.version,
        python=facts.executable,
        version=facts.minor_version,
        engines=wanted.extras,
    )
    commands = _commands(wanted.path, wheel.file, record, offline=wanted.wheels is not None)
    made = run_job(
        connection,
        facts,
        Job([_make(facts, wanted), *commands] if anew else commands, files),
        lambda _: None,
        stop,
    )
    if made.code:
        raise _failed(name, facts, made.stderr, wanted.command)


def remove_all(connection: Connection) -> str:
    """Remove every environment on a machine; returns the folder. Raises RemoteError."""
    folder = connection.facts().folder
    connection.remove(folder)
    return folder


def recorded(facts: SystemFacts, python: str | None) -> EnvironmentRecord | None:
    """The complete environment on the machine; None if it is to be made anew."""
    try:
        record = convert(facts.environment, EnvironmentRecord, where="the record")
    except SchemaError:
        return None
    if record.python == facts.executable:
        return record if record.version == facts.minor_version else None
    return None if python else record


def _engines(wanted: Wanted, here: Sequence[str], facts: SystemFacts, name: str) -> Sequence[str]:
    """The engines that the environment must have."""
    if wanted.engines:
        return [checked_engine(engine, facts, name) for engine in wanted.engines]
    known = [ENGINES[name] for name in here if name in ENGINES]
    fitting = [e.name for e in known if not wanted.formats or e.format in wanted.formats]
    return fitting or [best_engine(facts, name, wanted.formats)]


def _make(facts: SystemFacts, wanted: Installation) -> list[str]:
    system = ["--system-site-packages"] if wanted.system else []
    return [facts.executable, "-m", "venv", "--clear", *system, wanted.path]


def _commands(
    path: str, wheel: str, record: EnvironmentRecord, *, offline: bool
) -> list[list[str]]:
    """Install what the record lists, then write it: an environment without it is incomplete."""
    python = f"{path}/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-input"]
    install += ["--disable-pip-version-check"]
    install += ["--no-index", "--find-links", "."] if offline else []
    install += [f"./{wheel}[{','.join(record.engines)}]"]
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    return [install, [python, "-c", write, f"{path}/environment.json", to_json(record)]]


def _failed(name: str, facts: SystemFacts, printed: str, command: str) -> RemoteError:
    """The error for an installation that failed, from what pip printed."""
    if "No space left" in printed:
        return _no_space(name, facts)
    if any(part in printed for part in _NO_NETWORK):
        return RemoteError(
            f"pip on '{name}' cannot reach the package registry.",
            hint=f"without a network there: {command} --offline wheels/",
        )
    if any(part in printed for part in _NO_PACKAGE):
        return RemoteError(
            f"pip on '{name}' finds no package for {facts.kernel}, {facts.bits} bits, Python "
            f"{facts.python}: {last_line(printed)}.",
            hint="try another engine with --engine, or another Python there.",
        )
    return RemoteError(
        f"edgetl cannot be installed on '{name}': {last_line(printed)}.",
        hint=f"try again; to begin anew: edgetl devices setup {name} --remove",
    )


def _no_space(name: str, facts: SystemFacts) -> RemoteError:
    return RemoteError(
        f"'{name}' has too little space for edgetl: {facts.free_bytes / 1e6:.0f} MB are free in "
        f"'{facts.folder}'.",
        hint=f"make room there; an environment takes {_LEAST_BYTES / 1e6:.0f} MB or more.",
    )
