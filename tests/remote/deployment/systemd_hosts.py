"""Hosts with a real systemd as their first process, which starts their SSH server.

Each has its own processes, mounts, network and control group. They share this machine's kernel,
devices and root file system, except for the folders that systemd and deployments write to. Control
groups have no controllers, so limits such as MemoryMax= are accepted but not enforced.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.remote.namespaces import SSHD, Host, wait_until

SYSTEMD = Path("/lib/systemd/systemd")
# Where each host has a folder of its own, which outlasts a power cut.
_OWN = ("/opt", "/etc/systemd/system", "/etc/sudoers.d", "/var/lib", "/var/cache", "/srv")
_TARGETS = ("sysinit", "basic", "shutdown", "sockets", "network-online")
_SERVICES = (
    "systemd-journald.socket", "systemd-journald.service", "dbus.socket", "dbus.service",
)  # fmt: skip
# An account that is not root's.
USER, _USER_ID, _HOME = "pi", 1099, "/srv/pi"
_BOOT = """
set -e
folder=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/systemd/journald.conf.d /run/groups
printf '[Journal]\\nReadKMsg=no\\nStorage=volatile\\nRuntimeMaxUse=8M\\n' \
    > /run/systemd/journald.conf.d/test.conf
for own in $OWN; do
    mkdir -p "$folder/disk$own"
    if [ -d "$own" ]; then mount --bind "$folder/disk$own" "$own"; fi
done
for file in passwd shadow; do
    mount --bind "$folder/$file" "/etc/$file"
done
mount -t cgroup2 none /run/groups
mkdir -p "/run/groups/$2"
echo $$ > "/run/groups/$2/cgroup.procs"
umount /run/groups
export container=test SYSTEMD_UNIT_PATH="/etc/systemd/system:/run/systemd/system:$folder/units"
exec unshare --cgroup --pid --fork --kill-child --mount-proc sh -c \
    'mount -t cgroup2 none /sys/fs/cgroup; exec /lib/systemd/systemd --system --show-status=0'
"""


class SystemdHost(Host):
    """A machine with systemd."""

    def command(self) -> list[str]:
        """systemd, which starts the SSH server."""
        self._write_units()
        self._write_accounts()
        boot = self._folder / "boot.sh"
        boot.write_text(_BOOT.replace("$OWN", " ".join(_OWN)))
        command = ["unshare", "--mount", "--uts", "sh", str(boot)]
        return [*command, str(self._folder), self._namespace]

    def inside(self, *command: str) -> bytes:
        """Run a command as if it had been started on the machine; returns what it prints."""
        entered = ["nsenter", "--target", self._first_process(), "--all"]
        return subprocess.run([*entered, *command], check=True, capture_output=True).stdout

    def disk(self, path: str) -> Path:
        """The path here of a file in one of the machine's own folders."""
        return self._folder / f"disk{path}"

    def unit(self, name: str, *properties: str) -> str:
        """Properties of a unit, one a line."""
        shown = self.inside("systemctl", "show", name, "--value", f"-p{','.join(properties)}")
        return shown.decode().strip()

    def remove_groups(self) -> None:
        """Remove the control groups of the machine, once it is off."""
        mount = self._folder / "groups"
        mount.mkdir()
        subprocess.run(["mount", "-t", "cgroup2", "none", str(mount)], check=True)
        try:
            own = mount / self._namespace
            wait_until(lambda: "populated 0" in (own / "cgroup.events").read_text(), "it is off")
            for path in sorted(own.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            own.rmdir()
        finally:
            subprocess.run(["umount", str(mount)], check=True)

    def _first_process(self) -> str:
        assert self._server
        listed = subprocess.run(
            ["pgrep", "--parent", str(self._server.pid)], capture_output=True, text=True, check=True
        )
        return listed.stdout.strip()

    def _write_accounts(self) -> None:
        home = self.disk(_HOME)
        home.mkdir(parents=True, exist_ok=True)
        os.chown(home, _USER_ID, _USER_ID)
        shutil.copy(self._folder.parent / "key.pub", home)
        lines = {
            "passwd": f"{USER}:x:{_USER_ID}:{_USER_ID}::{_HOME}:/bin/sh\n",
            "shadow": f"{USER}:*:19000:0:99999:7:::\n",
        }
        for name, line in lines.items():
            path = self._folder / name
            path.write_text(Path("/etc", name).read_text() + line)
            path.chmod(Path("/etc", name).stat().st_mode & 0o777)

    def _write_units(self) -> None:
        units = self._folder / "units"
        shutil.rmtree(units, ignore_errors=True)
        units.mkdir()
        for name in _TARGETS:
            (units / f"{name}.target").write_text("[Unit]\n")
        (units / "multi-user.target").write_text("[Unit]\nWants=sshd.service dbus.socket\n")
        (units / "default.target").symlink_to("multi-user.target")
        for name in _SERVICES:
            shutil.copy(SYSTEMD.parent / "system" / name, units)
        own = (f"AuthorizedKeysFile={_HOME}/key.pub", f"SetEnv=HOME={_HOME} XDG_CACHE_HOME=")
        server = f"{SSHD} -D -e -f {self._folder / 'sshd_config'}"
        server += "".join(f' -o "{option}"' for option in own)
        (units / "sshd.service").write_text(
            f"[Unit]\nRequires=systemd-journald.service\n[Service]\nExecStart={server}\n"
        )


def require_systemd() -> None:
    """Skip the test where systemd is not installed."""
    for program in ("unshare", "systemctl", "journalctl", "pgrep"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no program '{program}' here")
    if not SYSTEMD.exists():
        pytest.skip("systemd is not installed here")
