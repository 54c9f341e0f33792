"""The environment of a service: for one version of edgetl and one engine, and never changed.

A service may run from it for years. So an engine is not added to it, as `edgetl devices setup`
does: another engine is another environment, and a release that is gone back to has its own.
"""

import hashlib
import threading
from collections.abc import Sequence

from edgetl.core.progress import Progress
from edgetl.remote.address import RemoteError
from edgetl.remote.connection import Connection
from edgetl.remote.deployment.settings import Settings, is_hidden
from edgetl.remote.engines import best_engine, checked_engine
from edgetl.remote.environment import Environment, Installation, Wanted, install, recorded
from edgetl.remote.facts import require_usable
from edgetl.remote.wheel import own_wheel


def service_environment(
    connection: Connection,
    wanted: Wanted,
    settings: Settings,
    progress: Progress,
    stop: threading.Event | None = None,
) -> Environment:
    """Make the environment of a service on a machine, or find it.

    Args:
        connection: to the machine, as root.
        wanted: the engine, at most one, and the formats of which it must run one.
        settings: what the service does.
        progress: where progress is shown.
        stop: ends it if another thread sets it.

    Raises RemoteError if the machine cannot run edgetl as a service, with what to do.
    """
    address = connection.address
    facts = connection.facts()
    require_usable(facts, address)
    if is_hidden(facts.executable):
        raise RemoteError(
            f"A service cannot use '{facts.executable}' on '{address.name}': home and temporary "
            "folders are hidden from it.",
            hint="name a Python of the system with --python, e.g. /usr/bin/python3.",
        )
    name = address.name
    engines = [checked_engine(engine, facts, name) for engine in wanted.engines]
    packages = (*(engines or [best_engine(facts, name, wanted.formats)]), *settings.extras)
    system = settings.needs_system_packages
    folder = environment_name(facts.executable, facts.minor_version, packages, system=system)
    path = f"{facts.folder}/{folder}"
    facts = connection.facts(folder)
    made = recorded(facts, address.python) is None
    if made:
        command = f"edgetl deploy {name}"
        installation = Installation(path, packages, wanted.wheels, command, system)
        install(connection, facts, installation, progress, stop, anew=True)
    return Environment(facts, path, packages, made=made, added=packages if made else ())


def environment_name(
    python: str, version: str, packages: Sequence[str], *, system: bool = False
) -> str:
    """The folder's name of an environment of this edgetl: 16 hex digits.

    Args:
        python: the path of the Python that it is made with, and `version`, e.g. "3.11".
        packages: the extras of edgetl in it, engines among them.
        system: whether it sees the packages of the system's Python, too.
    """
    parts = " ".join((own_wheel().key, python, version, *packages, *(["system"] if system else [])))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
