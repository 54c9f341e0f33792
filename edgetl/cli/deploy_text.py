"""What `edgetl deploy` prints."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from edgetl.cli.hosts import error_cell
from edgetl.cli.show import paragraph, table
from edgetl.remote.deployment.deploy import Effort
from edgetl.remote.deployment.plan import Plan
from edgetl.remote.deployment.reports import Deployed, Release, Removed, StatusOnHost
from edgetl.remote.deployment.unit import SECRETS
from edgetl.remote.fleet import Outcome

T = TypeVar("T")


def dry_run_text(plan: Plan, effort: Effort, hosts: Sequence[str], stages: Sequence[int]) -> str:
    """The unit, and in comments what would be done.

    Args:
        plan: the release.
        effort: how it would be brought to the hosts.
        hosts: those of an inventory, in their order; empty: there is one host.
        stages: how many of them would have the release after each stage.
    """
    name = plan.settings.name
    packages = " and ".join(["an engine", *plan.settings.extras])
    files = ", ".join(plan.files())
    steps = [
        f"make an environment with {packages}, unless it is there",
        f"copy {files} to /opt/edgetl/{name}/releases/{plan.release}",
        "check the golden samples and a picture there, as the service's user and in its sandbox",
        f"let /opt/edgetl/{name}/current lead to the release, and restart edgetl-{name}.service",
        "check that it answers; if not, put the release before back, and restart it"
        if plan.settings.serves
        else "check that it keeps running; if not, put the release before back, and restart it",
        f"keep {effort.keep} releases",
    ]
    lines = [f"# /etc/systemd/system/edgetl-{name}.service", plan.unit.rstrip(), ""]
    if plan.settings.hides_source:
        lines += [f"# {SECRETS} has the source: {plan.settings.shown_source}", ""]
    lines += ["# What would be done:", *(f"# {i}. {step}" for i, step in enumerate(steps, 1))]
    begin = 0
    for i, end in enumerate(stages, 1):
        lines.append(f"# stage {i}: {', '.join(hosts[begin:end])}")
        begin = end
    return "\n".join(lines) + "\n"


def deployed_text(report: Deployed) -> str:
    """A deployment or a rollback on one host."""
    release = report.release
    unit = f"edgetl-{report.service}.service"
    if not report.changed:
        return f"{report.host}: {unit} runs {release.release} already"
    before = f" (before: {report.before})" if report.before else ""
    lines = [f"{report.host}: {unit} runs {release.release}{before}", f"  {_runs(release)}"]
    if report.compared:
        lines.append(f"  right there: {report.compared}")
    if release.url:
        lines.append(f"  answers on {release.url}")
    return paragraph("\n".join(lines), indent="  ")


def deployed_table(outcomes: Sequence[Outcome[Deployed]]) -> str:
    """A line for each host."""

    def cells(report: Deployed) -> list[str]:
        release = report.release
        changed = "switched" if report.changed else "ran already"
        return [changed, release.release, report.before or "-", release.artifact, release.engine]

    return _table(("result", "release", "before", "artifact", "engine"), outcomes, cells)


def status_text(report: StatusOnHost) -> str:
    """What runs on one host, and what is kept."""
    status, name = report.status, f"edgetl-{report.service}.service"
    if status.current is None:
        return f"{report.host}: {name} is not deployed"
    lines = [f"{report.host}: {name} is {status.state}"]
    lines += [f"  since {status.since}, restarts: {status.restarts}"] if status.since else []
    if status.running:
        lines.append(f"  {_runs(status.running)}")
    lines.append(f"  health: {status.health}")
    header = ("release", "state", "deployed", "bundle", "edgetl")
    rows = [
        (one.release, "runs" if one.release == status.current else "kept", one.deployed,
         one.bundle, one.edgetl)
        for one in status.records
    ]  # fmt: skip
    return "\n".join((paragraph("\n".join(lines), indent="  "), table(header, rows)))


def status_table(outcomes: Sequence[Outcome[StatusOnHost]]) -> str:
    """A line for each host."""

    def cells(report: StatusOnHost) -> list[str]:
        status, running = report.status, report.status.running
        if running is None:
            return ["not deployed", *["-"] * 5]
        return [status.state, status.health, running.release, running.deployed, running.artifact,
                running.engine]  # fmt: skip

    header = ("state", "health", "release", "deployed", "artifact", "engine")
    return _table(header, outcomes, cells)


def removed_text(report: Removed) -> str:
    """A removal on one host."""
    done = "removed" if report.existed else "was not there"
    return f"{report.host}: edgetl-{report.service}.service {done}"


def removed_table(outcomes: Sequence[Outcome[Removed]]) -> str:
    """A line for each host."""
    return _table(
        ("result",), outcomes, lambda report: ["removed" if report.existed else "was not there"]
    )


def _table(
    header: Sequence[str], outcomes: Sequence[Outcome[T]], cells: Callable[[T], Sequence[str]]
) -> str:
    rows = [
        [one.host, *["-"] * len(header), error_cell(one)]
        if one.value is None
        else [one.host, *cells(one.value), ""]
        for one in outcomes
    ]
    titles = ["host", *header, "detail"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    return table(titles, rows)


def _runs(release: Release) -> str:
    return (
        f"{release.bundle} ({release.artifact} through {release.engine}, edgetl {release.edgetl})"
    )
