"""Real SSH servers, each in a network namespace of its own: machines as the network sees them.

They share this machine's processor, memory and file system; each has its own address, host key,
processes and home folder.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SSHD = Path("/usr/sbin/sshd")
_CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
_WAIT_S = 30.0


def wait_until(holds: Callable[[], bool], what: str, seconds: float = _WAIT_S) -> None:
    """Wait for a condition; fails the test if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


class Host:
    """A machine with an SSH server.

    Attributes:
        name: its name in the client's ssh configuration.
        address: its IP address.
        home: the home folder of whoever logs in.
    """

    def __init__(self, name: str, address: str, namespace: str, card: str, folder: Path) -> None:
        self.name, self.address, self.home = name, address, folder / "home"
        self._namespace, self._card, self._folder = namespace, card, folder
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = ["ip", "netns", "exec", self._namespace, *self.command()]
        with (self._folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log)

        def answers() -> bool:
            try:
                with socket.create_connection((self.address, 22), 1) as opened:
                    return opened.recv(4) == b"SSH-"
            except OSError:
                return False

        wait_until(answers, f"{self.name} answers at {self.address}")

    def command(self) -> list[str]:
        """What runs in the machine's network: the SSH server."""
        return [str(SSHD), "-D", "-e", "-f", str(self._folder / "sshd_config")]

    def inside(self, *command: str) -> bytes:
        """Run a command that sees the machine's own mounts; returns what it prints."""
        assert self._server
        entered = ["nsenter", "--mount", "--target", str(self._server.pid)]
        return subprocess.run([*entered, *command], check=True, capture_output=True).stdout

    def processes(self, part: str = "") -> list[int]:
        """The processes on the machine whose command line contains `part`, without the server."""
        found = []
        for pid in map(int, _ip("netns", "pids", self._namespace).split()):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if part in line and self._server and pid != self._server.pid:
                    found.append(pid)
        return found

    def die(self) -> None:
        """Kill the server and every process of the machine, as a power cut does."""
        for number in signal.SIGSTOP, signal.SIGKILL:  # none sees another one's end
            for pid in map(int, _ip("netns", "pids", self._namespace).split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if self._server is not None:
            self._server.wait()
            self._server = None

    def set_link(self, state: str) -> None:
        """Plug the network cable in ("up") or pull it out ("down"); nobody is told."""
        _ip("-n", self._namespace, "link", "set", self._card, state)

    def left(self) -> list[str]:
        """What edgetl left in its folder there, but the environment and the lock."""
        folder = self.home / ".cache" / "edgetl" / "remote"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(name for name in names if name != "lock" and len(name) != 16)


class Machines:
    """Several hosts, and the client's configuration to reach them.

    Attributes:
        hosts: in the order in which they were made.
        ssh_config: for `--ssh-config`.
    """

    def __init__(self, hosts: list[Host], ssh_config: Path) -> None:
        self.hosts, self.ssh_config = hosts, ssh_config

    def __getitem__(self, index: int) -> Host:
        return self.hosts[index]


@contextlib.contextmanager
def machines(count: int, folder: Path, kind: type[Host] = Host) -> Iterator[Machines]:
    """Make hosts of a kind, and remove them whatever happens. Skips where they cannot be made."""
    for program in ("ip", "nsenter", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no program '{program}' here")
    if not SSHD.exists():
        pytest.skip("there is no SSH server here: apt install openssh-server")
    if os.geteuid() != 0:
        pytest.skip("only root makes network namespaces")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_separation_folder())
        folder.mkdir(parents=True, exist_ok=True)
        _keygen(folder / "key")
        token, net = secrets.token_hex(3), _unused_net()
        hosts = []
        for i in range(count):
            namespace, link = f"edgetl-{token}-{i}", f"et{token}{i}"
            address, own = f"10.{net}.{i}.2", folder / f"host-{i + 1}"
            host = kind(f"board-{i + 1}", address, namespace, f"{link}b", own)
            stack.enter_context(_network(namespace, link, f"10.{net}.{i}"))
            _configure(host, folder)
            stack.callback(host.die)
            host.start()
            hosts.append(host)
        yield Machines(hosts, _client_config(hosts, folder))


def _unused_net() -> int:
    """The second number of a network 10.n that no card of this machine has an address in.

    A second card with the same network gets no packets. Other test processes, and those of runs
    that were killed, have networks of this kind.
    """
    used = {int(n) for n in re.findall(r"inet 10\.(\d+)\.", _ip("-4", "-oneline", "addr"))}
    return secrets.choice([n for n in range(20, 220) if n not in used])


@contextlib.contextmanager
def processor_share(host: Host, share: float) -> Iterator[Callable[[], int] | None]:
    """Let a host have only this share of one core; gives how often it had to wait for more.

    Where control groups do not allow it, it has all, and gives None.
    """
    group = _CPU_GROUPS / f"edgetl-{secrets.token_hex(4)}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text(str(int(share * 100_000)))
    except OSError:
        yield None
        return
    try:
        assert host._server
        (group / "tasks").write_text(str(host._server.pid))
        yield lambda: int((group / "cpu.stat").read_text().split("nr_throttled ")[1].split()[0])
    finally:
        for pid in (group / "tasks").read_text().split():
            with contextlib.suppress(OSError):
                (_CPU_GROUPS / "tasks").write_text(pid)
        group.rmdir()


@contextlib.contextmanager
def _network(namespace: str, link: str, net: str) -> Iterator[None]:
    """A namespace that is reached through a pair of virtual network cards."""
    made = subprocess.run(
        ["ip", "netns", "add", namespace], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    try:
        _ip("link", "add", f"{link}a", "type", "veth", "peer", f"{link}b", "netns", namespace)
        _ip("addr", "add", f"{net}.1/24", "dev", f"{link}a")
        _ip("link", "set", f"{link}a", "up")
        _ip("-n", namespace, "addr", "add", f"{net}.2/24", "dev", f"{link}b")
        _ip("-n", namespace, "link", "set", f"{link}b", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        yield
    finally:
        _ip("netns", "del", namespace)


def _configure(host: Host, folder: Path) -> None:
    host.home.mkdir(parents=True)
    key = host.home.parent / "host_key"
    _keygen(key)
    (host.home.parent / "sshd_config").write_text(
        f"HostKey {key}\n"
        f"AuthorizedKeysFile {folder / 'key.pub'}\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        # Each machine has its own home folder, though they share the account.
        f"SetEnv HOME={host.home} XDG_CACHE_HOME= EDGETL_CACHE= PIP_NO_COMPILE=1\n"
    )


def _client_config(hosts: list[Host], folder: Path) -> Path:
    known = "".join(
        f"{host.address} {(host.home.parent / 'host_key.pub').read_text()}" for host in hosts
    )
    (folder / "known_hosts").write_text(known)
    sections = [f"Host {host.name}\n  HostName {host.address}\n" for host in hosts]
    always = (
        "Host *\n  User root\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  IdentityFile {folder / 'key'}\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
    )
    config = folder / "ssh_config"
    config.write_text("".join([*sections, always]))
    return config


@contextlib.contextmanager
def _separation_folder() -> Iterator[None]:
    """The folder that sshd requires; a running system's own server has made it."""
    folder = Path("/run/sshd")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    yield
    if made:
        with contextlib.suppress(OSError):  # another test process needs it, too
            folder.rmdir()


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _ip(*arguments: str) -> str:
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
    return ran.stdout
