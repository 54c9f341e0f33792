"""The systemd units of a service: the service itself, and the check of a release before it."""

import re
from collections.abc import Sequence

from edgetl.capture.open import SOURCE_VARIABLE
from edgetl.remote.deployment.settings import Settings
from edgetl.serving.token import TOKEN_VARIABLE

ROOT = "/opt/edgetl"
_CHECKED_IN = "/run"
PICTURE, SECRETS = "picture", "secrets.env"

# What every service is forbidden. Not MemoryDenyWriteExecute: engines compile code as they run.
_SANDBOX = """\
DynamicUser=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=all
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
PrivateUsers=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""
_PICAMERA = ("char-media", "char-video4linux", "char-dma_heap")


def service_unit(settings: Settings, release: str, *, secrets: bool) -> str:
    """The text of a service's unit.

    Args:
        settings: what the service does.
        release: the release that it runs.
        secrets: whether the release's folder has a file of `secret_variables`.
    """
    folder = f"{ROOT}/{settings.name}/releases/{release}"
    does = "answers pictures over HTTP" if settings.serves else "classifies pictures"
    python = _edgetl(f"{folder}/environment")
    command = [*python, "serve" if settings.serves else "run", f"{folder}/model.edgetl"]
    started = " ".join(map(quoted, [*command, *settings.arguments]))
    lines = [
        "# Written by `edgetl deploy`, which replaces it: put changes into a drop-in,",
        f"# sudo systemctl edit edgetl-{settings.name}",
        "[Unit]",
        f"Description=edgetl {settings.name}: {does}",
        "Wants=network-online.target",
        "After=network-online.target",
        # A camera or folder that is not there yet may come at any time.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        # `edgetl run` classifies in a child process, which says when it is ready.
        f"NotifyAccess={'main' if settings.serves else 'all'}",
        f"ExecStart={started}",
        # Root's own file, which systemd reads before it drops root's rights.
        *([f"EnvironmentFile={folder}/{SECRETS}"] if secrets else []),
        "Restart=always",
        "RestartSec=15",
        "TimeoutStartSec=120",
        "TimeoutStopSec=45",
        *(["WatchdogSec=30"] if settings.serves else []),
        f"Environment=EDGETL_CACHE=/var/cache/edgetl/{settings.name}",
        f"CacheDirectory=edgetl/{settings.name}",
        *_shared(settings),
        f"RestrictAddressFamilies={_families(settings)}",
        *(["PrivateNetwork=yes"] if _is_offline(settings) else []),
        *([f"StateDirectory=edgetl/{settings.name}"] if settings.collect else []),
        *_devices(settings),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def secret_variables(settings: Settings, token: str | None) -> str:
    """The variables of a service that only root and itself may read, as systemd reads them.

    Args:
        settings: what the service does.
        token: what its clients must send; None: nothing.
    """
    values = {
        TOKEN_VARIABLE: token,
        SOURCE_VARIABLE: settings.source if settings.hides_source else None,
    }
    escaped = {
        name: re.sub(r'(["\\\\`$])', r"\\\1", value) for name, value in values.items() if value
    }
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


def check_unit(settings: Settings, release: str, environment: str) -> str:
    """The text of the unit that checks a release, within the limits of the service.

    It prints the JSON documents of `edgetl verify` and of `edgetl run` on the release's picture.

    Args:
        settings: what the service does.
        release: the release.
        environment: the path of the environment that it is to have.
    """
    folder = f"{ROOT}/{settings.name}/releases/{release}"
    bundle = f"{folder}/model.edgetl"
    printed = f"{_CHECKED_IN}/edgetl-{settings.name}-check.service"
    chosen = [word for word in settings.arguments if word.startswith(_CHOOSING)]
    verify = [*_edgetl(environment), "verify", bundle, "--json"]
    run = [*_edgetl(environment), "run", bundle, f"{folder}/{PICTURE}", *chosen, "--json"]
    lines = [
        "[Unit]",
        f"Description=edgetl {settings.name}: checks a release",
        "",
        "[Service]",
        "Type=oneshot",
        # The dash: an engine that is wrong is named by the document that is printed all the same.
        f"ExecStart=-{' '.join(map(quoted, verify))}",
        f"ExecStart={' '.join(map(quoted, run))}",
        f"StandardOutput=append:{printed}/stdout",
        f"StandardError=append:{printed}/stderr",
        "TimeoutStartSec=600",
        # Not the service's cache: systemd would make it this unit's user's.
        "Environment=EDGETL_CACHE=/tmp/edgetl",
        *_shared(settings),
        "RestrictAddressFamilies=AF_UNIX",
        "PrivateNetwork=yes",
        *_devices(settings),
        "",
    ]
    return "\n".join(lines)


_CHOOSING = ("--engine=", "--artifact=", "--threads=")


def quoted(word: str) -> str:
    """A word of a command line in a unit, which systemd takes as it is."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped == word and not set(word) & set(" '\t\n;") and word
    return word if plain else f'"{escaped}"'


def _edgetl(environment: str) -> list[str]:
    # -I: nothing but the release decides what is imported.
    return [f"{environment}/bin/python", "-I", "-m", "edgetl"]


def _shared(settings: Settings) -> list[str]:
    return [
        "Environment=LANG=C.UTF-8 NO_COLOR=1",
        f"MemoryMax={settings.memory}",
        *_SANDBOX.splitlines(),
    ]


def _families(settings: Settings) -> str:
    return "AF_UNIX" if _is_offline(settings) else "AF_UNIX AF_INET AF_INET6"


def _is_offline(settings: Settings) -> bool:
    return bool(settings.watch) or settings.camera


def _devices(settings: Settings) -> list[str]:
    """What it may use of /dev: nothing but what its camera and `devices` are."""
    allowed = [*settings.devices, *_camera_devices(settings.source if settings.camera else "")]
    groups = [*settings.groups, *(["video"] if settings.camera else [])]
    lines = [f"SupplementaryGroups={' '.join(dict.fromkeys(groups))}"] if groups else []
    if not allowed:
        return [*lines, "PrivateDevices=yes"]
    return [*lines, "DevicePolicy=closed", *(f"DeviceAllow={device} rw" for device in allowed)]


def _camera_devices(source: str) -> Sequence[str]:
    if source.startswith("picamera2"):
        return _PICAMERA
    number = source.removeprefix("camera:").removeprefix("/dev/video")
    return [f"/dev/video{number}"] if source else []
