"""The folders of deployed services, and how releases come and go in them.

    /opt/edgetl/lock                        held while something is changed
    /opt/edgetl/remote/KEY/                 environments, each for one version of edgetl and engine
    /opt/edgetl/NAME/releases/ID/           a release: bundle, unit, record, link to its environment
    /opt/edgetl/NAME/current -> releases/ID

systemd reads the unit through `current`. So one rename switches bundle, code and settings at once.
This file is sent to the other machine and run by its own Python: only the standard library.
"""

import contextlib
import hashlib
import json
import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path("/opt/edgetl")
UNITS = Path("/etc/systemd/system")
RUNTIME_UNITS = Path("/run/systemd/system")
BUNDLE, RECORD, ENVIRONMENT = "model.edgetl", "release.json", "environment"
_INCOMPLETE = ".incomplete-"
_CHUNK = 1 << 20
# A network that is gone sends no end. What is connected sends something more often than this.
_SILENCE_S = 60.0


class Service:
    """A deployed service's files.

    Args:
        name: the service's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = ROOT / name
        self.releases = self.folder / "releases"
        self.unit = f"edgetl-{name}.service"
        self.check_unit = f"edgetl-{name}-check.service"

    def current(self) -> "str | None":
        """The release that `current` leads to; None before the first deployment."""
        try:
            return (self.folder / "current").readlink().name
        except OSError:
            return None

    def records(self) -> "list[dict[str, Any]]":
        """The records of complete releases, the last deployed first."""
        found = []
        for path in self.releases.glob(f"[!.]*/{RECORD}"):
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(path.read_text()))
        return sorted(found, key=lambda record: record["deployed"], reverse=True)

    def record(self, release: str) -> "dict[str, Any]":
        """The record of a release. Raises OSError or ValueError if it has none."""
        record: dict[str, Any] = json.loads((self.releases / release / RECORD).read_text())
        return record

    def write_record(self, record: "dict[str, Any]") -> None:
        """Write a release's record, which makes the release complete."""
        path = self.releases / record["release"] / RECORD
        temporary = path.with_name(f"{_INCOMPLETE}{RECORD}")
        with temporary.open("w") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)

    def receive(self, release: str, files: "list[Any]", links: "dict[str, str]") -> None:
        """Write a release's files, which follow on standard input, to a folder that appears whole.

        Args:
            release: the release.
            files: for each its name, size, sha256 and mode.
            links: symbolic links by name.

        Raises ValueError if something arrives damaged.
        """
        temporary = self.releases / f"{_INCOMPLETE}{release}"
        temporary.mkdir(parents=True)
        for name, size, sha256, mode in files:
            (temporary / name).touch(mode=0o600)  # nobody else reads a token meanwhile
            with (temporary / name).open("wb") as out:
                if copy_input(out, size) != sha256:
                    raise ValueError(f"'{name}' arrived with another sha256")
                os.fchmod(out.fileno(), mode)
                out.flush()
                os.fsync(out.fileno())
        for name, target in links.items():
            (temporary / name).symlink_to(target)
        sync_folder(temporary)
        path = self.releases / release
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        for folder in (self.releases, self.folder, ROOT):
            sync_folder(folder)

    def environment(self, release: str) -> str:
        """The path of a release's environment."""
        return str((self.releases / release / ENVIRONMENT).readlink())

    def use_environment(self, release: str, path: str) -> None:
        """Let a release have another environment."""
        _link(self.releases / release / ENVIRONMENT, Path(path))

    def point_to(self, release: str) -> None:
        """Let `current` lead to a release, with one rename."""
        _link(self.folder / "current", Path("releases") / release)

    def link_unit(self) -> None:
        """Let systemd find the unit of the current release, also at the next start."""
        link = UNITS / self.unit
        if not link.is_symlink():
            link.symlink_to(self.folder / "current" / self.unit)
        wanted = UNITS / "multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        if not (wanted / self.unit).is_symlink():
            (wanted / self.unit).symlink_to(link)
        for folder in (wanted, UNITS):
            sync_folder(folder)

    def unlink_unit(self) -> None:
        """Undo `link_unit`."""
        for path in (UNITS / "multi-user.target.wants" / self.unit, UNITS / self.unit):
            path.unlink(missing_ok=True)
        sync_folder(UNITS)

    def clean_up(self) -> None:
        """Remove what deployments that were cut off have left."""
        for path in self.folder.glob(f"{_INCOMPLETE}*"):
            path.unlink()
        for path in self.releases.glob("*"):
            if path.name != self.current() and not (path / RECORD).is_file():
                shutil.rmtree(path)
        (RUNTIME_UNITS / self.check_unit).unlink(missing_ok=True)

    def keep(self, count: int) -> None:
        """Keep so many releases: the current one, those before it, the last deployed others."""
        order = [*self.before(), *(record["release"] for record in self.records())]
        kept = list(dict.fromkeys(filter(None, [self.current(), *order])))[:count]
        for record in self.records():
            if record["release"] not in kept:
                shutil.rmtree(self.releases / record["release"])
        remove_unused_environments()

    def before(self) -> "list[str]":
        """The releases that are kept of those that ran before the current one, last first."""
        records = {record["release"]: record for record in self.records()}
        chain: list[str] = []
        release = self.current()
        while release is not None and release in records and release not in chain:
            chain.append(release)
            release = records[release]["before"]
        return chain[1:]


def services() -> "Iterator[Service]":
    """All services that are deployed here."""
    for path in sorted(ROOT.glob("*/releases")):
        yield Service(path.parent.name)


def remove_unused_environments() -> None:
    """Remove the environments that no release of any service uses."""
    used = {(path / ENVIRONMENT).resolve() for one in services() for path in one.releases.iterdir()}
    for path in (ROOT / "remote").glob("*/pyvenv.cfg"):
        if path.parent.resolve() not in used:
            shutil.rmtree(path.parent)


def copy_input(out: "IO[bytes]", size: int) -> str:
    """Copy so many bytes of standard input to a file; returns their sha256. Raises EOFError."""
    digest = hashlib.sha256()
    while size:
        chunk = read_input(min(_CHUNK, size))
        if not chunk:
            raise EOFError
        digest.update(chunk)
        out.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def read_input(most: int) -> bytes:
    """What arrives on standard input; nothing at its end, or after a minute of silence.

    Not through sys.stdin, whose buffer would take what follows.
    """
    heard, _, _ = select.select([0], [], [], _SILENCE_S)
    return os.read(0, most) if heard else b""


def _link(path: Path, target: Path) -> None:
    """Make a symbolic link, or replace one, with one rename."""
    temporary = path.with_name(f"{_INCOMPLETE}{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Write a folder's names to the disk, so that they survive a power cut."""
    folder = os.open(str(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def now() -> str:
    """The time, e.g. "2026-11-27T22:14:30Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
