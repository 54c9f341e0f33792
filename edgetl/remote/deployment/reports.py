"""What a machine says of its services, and what `edgetl deploy` reports; all of it JSON."""

from typing import Any

from edgetl.core.schema import Frozen
from edgetl.remote.address import RemoteError


class Expected(Frozen, kw_only=True, frozen=True):
    """The answer to a release's picture: the likeliest label and its probability.

    Attributes:
        tolerance: by how much the probability may differ, 0 to 1.
    """

    label: str
    probability: float
    tolerance: float


class Release(Frozen, kw_only=True, frozen=True):
    """The record of a release.

    Attributes:
        release: its name, of the bundle's sha256 and of what else belongs to it.
        bundle: the bundle's file name on the workstation, and `bundle_sha256`, the file's hash.
        artifact: the artifact that runs, e.g. "tflite-int8".
        engine: the engine and its version, e.g. "litert 2.3.0".
        edgetl: the version of edgetl in its environment.
        url: where the service is asked, on its machine; None if it does not serve.
        listens: the address and port that it listens on; None if it does not serve.
        expected: the answer to its picture.
        deployed: when, e.g. "2026-11-27T22:14:30Z"; "" before that.
        before: the release that ran until then; None: there was none.
    """

    release: str
    bundle: str
    bundle_sha256: str
    artifact: str
    engine: str
    edgetl: str
    url: str | None
    listens: tuple[str, int] | None
    expected: Expected
    deployed: str = ""
    before: str | None = None


class ServiceStatus(Frozen, kw_only=True, frozen=True):
    """What runs, and what is kept.

    Attributes:
        current: the release that runs; None if the service is not deployed.
        records: of the releases that are kept, the last deployed first.
        state: systemd's words for it, e.g. "active (running)".
        since: when it got into that state, as systemd writes it.
        restarts: how often systemd has restarted it since.
        health: "ok", what is wrong, or "not asked" if it does not serve.
    """

    current: str | None
    records: tuple[Release, ...]
    state: str
    since: str
    restarts: int
    health: str

    @property
    def running(self) -> Release | None:
        """The record of the release that runs."""
        return next((one for one in self.records if one.release == self.current), None)

    @property
    def well(self) -> bool:
        """Whether it runs and, if it can be asked, answers."""
        return self.state.startswith("active ") and self.health in ("ok", "not asked")


class Begun(Frozen, kw_only=True, frozen=True):
    """The state of a machine when a deployment begins.

    Attributes:
        systemd: its version; 0 if that is not known.
        current, releases: the release that runs, and those that are kept.
        free_bytes: of the file system of /opt/edgetl.
    """

    systemd: int
    current: str | None
    releases: tuple[str, ...]
    free_bytes: int


class Checked(Frozen, kw_only=True, frozen=True):
    """What the check of a release came to.

    Attributes:
        succeeded: whether its last command did.
        printed: its standard output and error, under "stdout" and "stderr".
        Result, ExecMainStatus: systemd's words for how it ended.
    """

    succeeded: bool
    printed: dict[str, str]
    Result: str
    ExecMainStatus: str


class Switched(Frozen, kw_only=True, frozen=True):
    """What became of a switch to another release.

    Attributes:
        release: the release to switch to, and `before`, the one that ran until then.
        record: the release's record; None if it does not run.
        why: why it does not run, and `log`, the last lines of the service's journal.
        old_failed: why the release that ran before does not run either; "": it runs again.
    """

    release: str
    before: str | None
    record: Release | None = None
    why: str = ""
    log: tuple[str, ...] = ()
    old_failed: str = ""


class Deployed(Frozen, kw_only=True, frozen=True):
    """The report of a deployment or of a rollback on one machine.

    Attributes:
        host: the machine.
        service: the service's name.
        changed: False if this release ran already.
        before: the release that ran until then; None: there was none.
        release: the record of the release that runs now.
        compared: with what the answer to the picture was compared: the workstation's answer, or
            the golden samples alone.
    """

    host: str
    service: str
    changed: bool
    before: str | None
    release: Release
    compared: str = ""


class StatusOnHost(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl deploy --status` on one machine."""

    host: str
    service: str
    status: ServiceStatus


class Removed(Frozen, kw_only=True, frozen=True):
    """The report of `edgetl deploy --remove` on one machine: whether there was such a service."""

    host: str
    service: str
    existed: bool


class OnHost(Frozen, kw_only=True, frozen=True):
    """What became of one host of several.

    Attributes:
        host: its name.
        report: None if there is none.
        error, hint: why there is none; empty otherwise.
    """

    host: str
    report: Any
    error: str = ""
    hint: str = ""


class DeployError(RemoteError):
    """A release that did not run, and that was taken back.

    Attributes:
        log: the last lines of the service's journal.
    """

    def __init__(self, message: str, *, hint: str, log: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.log = log
