"""What a deployed service is to do."""

import re
from pathlib import PurePosixPath

from edgetl.core.errors import SchemaError
from edgetl.core.schema import Frozen

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
# Folders under /opt/edgetl, and the end of the name of the unit that checks a release.
_TAKEN = re.compile(r"remote|lock|.*-check")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# What a service's sandbox hides from it.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
_CAMERA = re.compile(r"camera:(\d+)|/dev/video(\d+)|picamera2(:\d+)?")
_URL = re.compile(r"(https?|rtsps?)://[!-~]+")


class Settings(Frozen, kw_only=True, frozen=True):
    """What a service does and may use. All of it belongs to a release.

    Attributes:
        name: of the service, e.g. "edgetl-cells.service" for "cells".
        watch: the folder whose pictures are classified; "": none.
        source: the camera or stream that is classified; "": none. A service with neither answers
            pictures over HTTP.
        host, port: where it listens for them.
        allow_host: other names of that server.
        engine, artifact, threads: as `edgetl serve` takes them.
        every_s: seconds between two frames of `source`; None: as they come.
        collect: whether pictures are kept, in /var/lib/edgetl/NAME.
        max_mb: what these may take.
        memory: how much memory it may use, as systemd writes it, e.g. "75%" or "600M".
        groups: groups whose files it may read.
        devices: device files that it may use.
    """

    name: str
    watch: str = ""
    source: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    allow_host: tuple[str, ...] = ()
    engine: str = "auto"
    artifact: str = ""
    threads: int | None = None
    every_s: float | None = None
    collect: bool = False
    max_mb: float | None = None
    memory: str = "75%"
    groups: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it answers pictures over HTTP."""
        return not self.watch and not self.source

    @property
    def url(self) -> str | None:
        """Where the service is asked, on its own machine; None if it does not serve."""
        if not self.serves:
            return None
        own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{own}]:{self.port}" if ":" in own else f"http://{own}:{self.port}"

    @property
    def camera(self) -> bool:
        """Whether its source is a camera of the machine."""
        return _CAMERA.fullmatch(self.source) is not None

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of edgetl that it needs beside an engine."""
        if self.serves:
            return ("serve",)
        by_opencv = self.source.startswith(("rtsp", "camera:", "/dev/"))
        return ("camera",) if by_opencv else ()

    @property
    def needs_system_packages(self) -> bool:
        """Whether it needs a package of the system's Python: pip alone cannot install picamera2."""
        return self.source.startswith("picamera2")

    @property
    def hides_source(self) -> bool:
        """Whether its source may hold a password, and so must not be among its arguments."""
        return "://" in self.source

    @property
    def shown_source(self) -> str:
        """Its source without user, password and query."""
        return re.sub(r"(?<=://)[^/]*@", "", self.source).partition("?")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command of edgetl that it runs, without the bundle."""
        options = {
            "--engine": None if self.engine == "auto" else self.engine,
            "--artifact": self.artifact or None,
            "--threads": self.threads,
            "--collect": f"/var/lib/edgetl/{self.name}/kept" if self.collect else None,
            "--max-mb": self.max_mb,
        }
        if self.serves:
            options |= {"--host": self.host, "--port": self.port}
        else:
            options |= {"--watch": self.watch or None, "--every": self.every_s}
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        given += [f"--allow-host={name}" for name in self.allow_host]
        return (*given, "--", self.source) if self.camera else tuple(given)


def checked(settings: Settings) -> Settings:
    """Return the settings. Raises SchemaError if one of them cannot be used."""
    if not _NAME.fullmatch(settings.name) or _TAKEN.fullmatch(settings.name):
        raise SchemaError(
            f"'{settings.name}' cannot be a service's name.",
            hint="up to 32 lower-case letters, digits and -, beginning with a letter, e.g. cells.",
        )
    for word in (*settings.arguments, settings.source):
        if not word.isprintable():
            raise SchemaError(f"{word!r} has characters that cannot be printed.")
    if settings.source and not (settings.camera or _URL.fullmatch(settings.source)):
        raise SchemaError(
            f"'{settings.source}' is no source for a service.",
            hint="camera:0, /dev/video0, picamera2, or an http(s):// or rtsp:// address.",
        )
    _check_allowed(settings)
    if settings.watch:
        _check_folder(settings.watch)
    return settings


def _check_allowed(settings: Settings) -> None:
    for group in settings.groups:
        if not _GROUP.fullmatch(group):
            raise SchemaError(f"'{group}' is not the name of a group.")
    for device in settings.devices:
        if not re.fullmatch(r"/dev/[A-Za-z0-9_/-]+|char-[a-z0-9*-]+", device):
            raise SchemaError(f"'{device}' is no device.", hint="e.g. /dev/dri/renderD128.")
    if not re.fullmatch(r"[1-9]\d*(%|[KMGT])", settings.memory):
        raise SchemaError(f"'{settings.memory}' is no size of memory.", hint="e.g. 600M or 75%.")


def is_hidden(path: str) -> bool:
    """Whether services do not see an absolute path."""
    return any(PurePosixPath(path).is_relative_to(hidden) for hidden in _HIDDEN)


def _check_folder(folder: str) -> None:
    path = PurePosixPath(folder)
    if not path.is_absolute() or ".." in path.parts or not folder.isprintable():
        raise SchemaError(
            f"'{folder}' is not the absolute path of a folder on the host.", hint="e.g. /srv/cells."
        )
    if is_hidden(folder):
        raise SchemaError(
            f"A service sees nothing in '{folder}': home and temporary folders are hidden from it.",
            hint="let the pictures arrive elsewhere, e.g. in /srv/cells.",
        )
