"""A service on another machine: deploy, go back, look at it, remove it."""

import getpass
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.core.progress import Progress
from edgetl.remote.address import RemoteError
from edgetl.remote.connection import StoppedError
from edgetl.remote.content import Content, measured
from edgetl.remote.deployment.agent import Agent, RootConnection, running_agent
from edgetl.remote.deployment.environment import service_environment
from edgetl.remote.deployment.plan import Plan
from edgetl.remote.deployment.reports import (
    Begun,
    Checked,
    Deployed,
    DeployError,
    Release,
    Removed,
    ServiceStatus,
    StatusOnHost,
    Switched,
)
from edgetl.remote.deployment.unit import check_unit
from edgetl.remote.deployment.verdict import Verdict, judge
from edgetl.remote.environment import Environment, Wanted
from edgetl.remote.wheel import own_wheel

# The first version that knows all that the units forbid.
_OLDEST_SYSTEMD = 247
_SPARE_BYTES = 32 * 1024 * 1024


class Host(NamedTuple):
    """A machine to deploy to.

    Attributes:
        connection: to the machine.
        progress: where progress is shown.
        stop: ends what may still be ended if another thread sets it.
    """

    connection: RootConnection
    progress: Progress
    stop: threading.Event | None = None

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.connection.address.name

    def say(self, text: str) -> None:
        """Show what is being done there."""
        self.progress.say(f"{self.name}: {text}")


class Effort(NamedTuple):
    """How a release is brought to a machine.

    Attributes:
        wheels: a folder of packages to send along; None: pip fetches them there.
        keep: how many releases are kept there, the running one included.
    """

    wheels: Path | None = None
    keep: int = 3


def deploy(host: Host, plan: Plan, effort: Effort) -> Deployed:
    """Check a release on a machine, and have it run there in place of the one before.

    Raises RemoteError or GateMissedError if it cannot run there; nothing is replaced then. Raises
    DeployError if it ran there but did not answer; the release before runs again then.
    """
    name, release = plan.settings.name, plan.release
    with _begun(host, name) as (agent, begun):
        _require_capable(host, plan, begun)
        if begun.current == release:
            status = agent.ask("status", ServiceStatus)
            if status.well and status.running:
                host.say(f"{release} runs already")
                return Deployed(
                    host=host.name, service=name, changed=False, before=release,
                    release=status.running,
                )  # fmt: skip
        if plan.settings.serves:
            listens = [plan.settings.host, plan.settings.port]
            agent.tell("require_free_port", listens=listens)
        environment = _environment(host, plan, effort)
        try:
            if begun.current != release:
                _send(host, agent, plan, environment)
            verdict = _check(host, agent, plan)
            if host.stop is not None and host.stop.is_set():
                raise StoppedError
        except BaseException:
            with suppress(RemoteError):
                agent.tell("discard", release=release)
            raise
        host.say(f"switching to {release}")
        record = _record(plan, verdict)
        fields = msgspec.to_builtins(record)
        switched = agent.ask("switch", Switched, record=fields, keep=effort.keep)
        _require_switched(host, name, switched)
    return Deployed(
        host=host.name, service=name, changed=True, before=begun.current, release=record,
        compared=verdict.compared,
    )  # fmt: skip


def roll_back(host: Host, name: str) -> Deployed:
    """Go back to the release before the current one.

    Raises RemoteError if there is none, and DeployError if it does not answer; the current one runs
    again then.
    """
    with _begun(host, name) as (agent, begun):
        switched = agent.ask("roll_back", Switched)
        _require_switched(host, name, switched)
        running = agent.ask("status", ServiceStatus).running
    if running is None:
        raise RemoteError(f"'{host.name}' does not say what it runs.")
    return Deployed(
        host=host.name, service=name, changed=True, before=begun.current, release=running
    )


def status_of(host: Host, name: str) -> StatusOnHost:
    """What a service runs, and what is kept. Needs no root. Raises RemoteError."""
    host.connection.facts()  # a machine without Python is named as such
    with running_agent(host.connection, name) as agent:
        status = agent.ask("status", ServiceStatus)
    return StatusOnHost(host=host.name, service=name, status=status)


def remove(host: Host, name: str) -> Removed:
    """Stop and remove a service; pictures that it kept stay. Raises RemoteError."""
    with _begun(host, name) as (agent, _):
        existed = agent.ask("remove", dict[str, bool])["existed"]
    return Removed(host=host.name, service=name, existed=existed)


@contextmanager
def _begun(host: Host, name: str) -> Iterator[tuple[Agent, Begun]]:
    """The program on the machine, which lets nobody else change anything there."""
    host.connection.become_root()
    host.connection.facts()  # a machine without Python is named as such
    with running_agent(host.connection, name) as agent:
        by = f"{getpass.getuser()} on {platform.node()}"
        yield agent, agent.ask("begin", Begun, by=by)


def _require_capable(host: Host, plan: Plan, begun: Begun) -> None:
    if begun.systemd < _OLDEST_SYSTEMD:
        raise RemoteError(
            f"'{host.name}' has systemd {begun.systemd}; a service needs {_OLDEST_SYSTEMD}.",
            hint="Debian 11, Ubuntu 22.04 and later have it.",
        )
    size = plan.bundle.path.stat().st_size + len(plan.picture) + _SPARE_BYTES
    if begun.free_bytes < size:
        raise RemoteError(
            f"'{host.name}' has no space for {size / 1e6:.0f} MB: "
            f"{begun.free_bytes / 1e6:.0f} MB are free in '/opt/edgetl'.",
            hint="make room there, e.g. with sudo apt clean.",
        )


def _environment(host: Host, plan: Plan, effort: Effort) -> Environment:
    settings = plan.settings
    formats = {artifact.format for artifact in plan.bundle.manifest.artifacts}
    if settings.artifact:
        formats = {plan.bundle.artifact(settings.artifact).format}
    engines = () if settings.engine == "auto" else (settings.engine,)
    wanted = Wanted(engines, formats, effort.wheels)
    return service_environment(host.connection, wanted, settings.extras, host.progress, host.stop)


def _send(host: Host, agent: Agent, plan: Plan, environment: Environment) -> None:
    """Copy the release; it is there whole or not at all."""
    files = plan.files()
    contents: list[tuple[Content, int]] = []
    described: list[tuple[str, int, str, int]] = []
    for name, (content, mode) in files.items():
        size, sha256 = measured(content)
        contents.append((content, size))
        described.append((name, size, sha256, mode))
    host.say(f"copying {plan.bundle.path.name} ({sum(size for _, size in contents) / 1e6:.1f} MB)")
    links = {"environment": environment.path}
    agent.tell("receive", contents, release=plan.release, files=described, links=links)


def _check(host: Host, agent: Agent, plan: Plan) -> Verdict:
    host.say("checking the golden samples and a picture there")
    text = check_unit(plan.settings, plan.release)
    return judge(agent.ask("check", Checked, unit=text), plan, host.connection)


def _record(plan: Plan, verdict: Verdict) -> Release:
    settings = plan.settings
    return Release(
        release=plan.release,
        bundle=plan.bundle.path.name,
        bundle_sha256=plan.bundle_sha256,
        artifact=verdict.prediction.artifact,
        engine=verdict.prediction.engine,
        edgetl=own_wheel().version,
        url=settings.url,
        listens=(settings.host, settings.port) if settings.serves else None,
        expected=verdict.expected,
    )


def _require_switched(host: Host, name: str, switched: Switched) -> None:
    if switched.switched:
        return
    failed = f"Release {switched.release} does not work on '{host.name}': {switched.why}."
    if switched.before is None:
        after = "The service was removed again: there was none before."
    elif switched.before == switched.release:
        after = "It stays, as it ran before, too; --rollback goes back to the one before."
    elif switched.old_failed:
        after = f"{switched.before} was put back, but does not run either: {switched.old_failed}."
    else:
        after = f"{switched.before} runs again."
    hint = f"all that it has logged: journalctl -u edgetl-{name} on that machine."
    raise DeployError(f"{failed} {after}", hint=hint, log=switched.log)
