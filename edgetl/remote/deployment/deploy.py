"""A service on another machine: deploy, go back, look at it, remove it."""

import getpass
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgetl.remote.address import RemoteError
from edgetl.remote.commands import Session
from edgetl.remote.connection import StoppedError
from edgetl.remote.content import Content, measured
from edgetl.remote.deployment.agent import Agent, become_root, running_agent
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
from edgetl.remote.deployment.unit import ROOT, check_unit
from edgetl.remote.deployment.verdict import Verdict, judge
from edgetl.remote.environment import Environment, Wanted
from edgetl.remote.jobs import require_space
from edgetl.remote.wheel import own_wheel

# The first version that knows all that the units forbid.
_OLDEST_SYSTEMD = 247


class Effort(NamedTuple):
    """How a release is brought to a machine.

    Attributes:
        wheels: a folder of packages to send along; None: pip fetches them there.
        keep: how many releases are kept there, the running one included.
    """

    wheels: Path | None = None
    keep: int = 3


def deploy(session: Session, plan: Plan, effort: Effort) -> Deployed:
    """Check a release on a machine, and have it run there in place of the one before.

    Raises RemoteError or GateMissedError if it cannot run there; nothing is replaced then. Raises
    DeployError if it ran there but did not answer; the release before runs again then.
    """
    name, release = plan.settings.name, plan.release
    with _begun(session, name) as (agent, begun):
        _require_capable(session, plan, begun)
        if begun.current == release:
            status = agent.ask("status", ServiceStatus)
            if status.well and status.running:
                session.say(f"{release} runs already")
                return Deployed(
                    host=session.name, service=name, changed=False, before=release,
                    release=status.running,
                )  # fmt: skip
        if plan.settings.serves:
            listens = [plan.settings.host, plan.settings.port]
            agent.tell("require_free_port", listens=listens)
        environment = _environment(session, plan, effort)
        if release not in begun.releases:
            _send(session, agent, plan, environment)
        verdict = _check(session, agent, plan, environment)
        if session.stop is not None and session.stop.is_set():
            raise StoppedError
        session.say(f"switching to {release}")
        fields = msgspec.to_builtins(_record(plan, verdict))
        switched = agent.ask(
            "switch", Switched, record=fields, environment=environment.path, keep=effort.keep
        )
    return _deployed(session, name, switched, verdict.compared)


def roll_back(session: Session, name: str) -> Deployed:
    """Go back to the release before the current one.

    Raises RemoteError if there is none, and DeployError if it does not answer; the current one runs
    again then.
    """
    with _begun(session, name) as (agent, _):
        switched = agent.ask("roll_back", Switched)
    return _deployed(session, name, switched)


def status_of(session: Session, name: str) -> StatusOnHost:
    """What a service runs, and what is kept. Needs no root. Raises RemoteError."""
    session.connection.facts()  # a machine without Python is named as such
    with running_agent(session.connection, name) as agent:
        status = agent.ask("status", ServiceStatus)
    return StatusOnHost(host=session.name, service=name, status=status)


def remove(session: Session, name: str) -> Removed:
    """Stop and remove a service; pictures that it kept stay. Raises RemoteError."""
    with _begun(session, name) as (agent, _):
        existed = agent.ask("remove", dict[str, bool])["existed"]
    return Removed(host=session.name, service=name, existed=existed)


@contextmanager
def _begun(session: Session, name: str) -> Iterator[tuple[Agent, Begun]]:
    """The program on the machine, which lets nobody else change anything there."""
    become_root(session.connection)
    session.connection.facts()  # a machine without Python is named as such
    with running_agent(session.connection, name) as agent:
        by = f"{getpass.getuser()} on {platform.node()}"
        yield agent, agent.ask("begin", Begun, by=by)


def _require_capable(session: Session, plan: Plan, begun: Begun) -> None:
    if begun.systemd < _OLDEST_SYSTEMD:
        raise RemoteError(
            f"'{session.name}' has systemd {begun.systemd}; a service needs {_OLDEST_SYSTEMD}.",
            hint="Debian 11, Ubuntu 22.04 and later have it.",
        )
    size = plan.bundle.path.stat().st_size + len(plan.picture)
    require_space(session.connection, size, begun.free_bytes, ROOT)


def _environment(session: Session, plan: Plan, effort: Effort) -> Environment:
    settings = plan.settings
    formats = {artifact.format for artifact in plan.bundle.manifest.artifacts}
    if settings.artifact:
        formats = {plan.bundle.artifact(settings.artifact).format}
    engines = () if settings.engine == "auto" else (settings.engine,)
    wanted = Wanted(engines, formats, effort.wheels)
    connection, progress, stop = session
    return service_environment(connection, wanted, settings, progress, stop)


def _send(session: Session, agent: Agent, plan: Plan, environment: Environment) -> None:
    """Copy the release; it is there whole or not at all."""
    files = plan.files()
    contents: list[tuple[Content, int]] = []
    described: list[tuple[str, int, str, int]] = []
    for name, (content, mode) in files.items():
        size, sha256 = measured(content)
        contents.append((content, size))
        described.append((name, size, sha256, mode))
    session.say(
        f"copying {plan.bundle.path.name} ({sum(size for _, size in contents) / 1e6:.1f} MB)"
    )
    links = {"environment": environment.path}
    agent.tell("receive", contents, release=plan.release, files=described, links=links)


def _check(session: Session, agent: Agent, plan: Plan, environment: Environment) -> Verdict:
    session.say("checking the golden samples and a picture there")
    text = check_unit(plan.settings, plan.release, environment.path)
    return judge(agent.ask("check", Checked, unit=text), plan, session.connection)


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


def _deployed(session: Session, name: str, switched: Switched, compared: str = "") -> Deployed:
    """The report of a switch. Raises DeployError if the release does not run."""
    if switched.record is not None:
        return Deployed(
            host=session.name, service=name, changed=True, before=switched.before,
            release=switched.record, compared=compared,
        )  # fmt: skip
    failed = f"Release {switched.release} does not work on '{session.name}': {switched.why}."
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
