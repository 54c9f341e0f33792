"""Jobs end with the connection, whatever ends it, and leave nothing behind."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from edgetl.core.errors import EdgetlError
from edgetl.remote.address import RemoteError, parse_address
from edgetl.remote.connection import Connection, Finished, StoppedError
from edgetl.remote.facts import SystemFacts
from edgetl.remote.jobs import Job, run_job
from tests.remote.namespaces import Host, Machines, wait_until

# What a job runs: a shell that waits for a child, as edgetl waits for its engines.
_LONG = ["sh", "-c", "echo begun >&2; sleep 4321 & wait"]
_SLEEPER = "sleep 4321"


class Lines(list[str]):
    """Collects lines, and lets another thread wait for the first."""

    def __init__(self) -> None:
        super().__init__()
        self.some = threading.Event()

    def take(self, line: str) -> None:
        self.append(line)
        self.some.set()


class Board(NamedTuple):
    """A machine, and a connection to it."""

    host: Host
    connection: Connection
    facts: SystemFacts

    def run(self, job: Job, **options: Any) -> tuple[Finished, Lines]:
        lines = Lines()
        return run_job(self.connection, self.facts, job, lines.take, **options), lines


@contextmanager
def connected(host: Host, boards: Machines) -> Iterator[Board]:
    with Connection(parse_address(host.name), ssh_config=boards.ssh_config) as connection:
        yield Board(host, connection, connection.facts())


@pytest.fixture(scope="module")
def board(boards: Machines) -> Iterator[Board]:
    with connected(boards[0], boards) as made:
        yield made


def nothing_left(host: Host) -> bool:
    return (
        not host.processes("end_with_connection")
        and not host.processes(_SLEEPER)
        and not host.left()
    )


def reads(pid: int) -> int:
    """How often a process has read something."""
    return int(Path(f"/proc/{pid}/io").read_text().split("syscr: ")[1].split()[0])


def test_commands_run_in_a_folder_with_the_files(board: Board, tmp_path: Path) -> None:
    content = os.urandom(2_500_000)
    (tmp_path / "big").write_bytes(content)
    files = {"model.edgetl": tmp_path / "big", "pictures/000000.jpg": b"small", "empty": b""}
    commands = [
        ["sh", "-c", "echo one >&2; sha256sum model.edgetl"],
        ["sh", "-c", "echo two >&2; cat pictures/000000.jpg; pwd"],
    ]
    finished, lines = board.run(Job(commands, files))
    hashed, told = finished.stdout.decode().splitlines()
    assert hashed.split()[0] == hashlib.sha256(content).hexdigest()
    assert told == f"small{board.host.home / '.cache/edgetl/remote/job'}"
    assert (finished.code, list(lines)) == (0, ["one", "two"])
    assert nothing_left(board.host)


def test_the_first_command_that_fails_is_the_last(board: Board) -> None:
    finished, _ = board.run(Job([["sh", "-c", "exit 5"], ["echo", "never"]], {}))
    assert (finished.code, finished.stdout) == (5, b"")


def test_a_command_that_is_killed_or_missing_is_told(board: Board) -> None:
    finished, _ = board.run(Job([["sh", "-c", "kill -9 $$"]], {}))
    assert finished.code == 128 + signal.SIGKILL
    finished, lines = board.run(Job([["no-such-program"]], {}))
    assert finished.code == 1
    assert list(lines) == ["no-such-program: No such file or directory"]


def test_what_a_command_leaves_running_is_ended(board: Board) -> None:
    finished, _ = board.run(Job([["sh", "-c", f"{_SLEEPER} >/dev/null 2>&1 & true"]], {}))
    assert finished.code == 0
    assert nothing_left(board.host)


def test_another_thread_stops_a_job(board: Board) -> None:
    stop = threading.Event()

    def stop_soon() -> None:
        wait_until(lambda: bool(board.host.processes(_SLEEPER)), "the job runs")
        stop.set()

    threading.Thread(target=stop_soon).start()
    with pytest.raises(StoppedError):
        board.run(Job([_LONG], {"a": b"a"}), stop=stop)
    assert nothing_left(board.host)


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A temporary folder for processes that are killed; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="et-", dir="/tmp") as folder:
        yield folder


def start_elsewhere(host: Host, boards: Machines, folder: str) -> "subprocess.Popen[bytes]":
    """Start a job from another process, whose temporary files are in `folder`."""
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.remote.address import parse_address\n"
        "from edgetl.remote.connection import Connection\n"
        "from edgetl.remote.jobs import Job, run_job\n"
        "with Connection(parse_address(sys.argv[1]), ssh_config=Path(sys.argv[2])) as c:\n"
        f"    run_job(c, c.facts(), Job([{_LONG!r}], {{'a': b'a'}}), print)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, host.name, str(boards.ssh_config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": folder},
    )


def test_a_job_ends_with_the_process_that_wanted_it(boards: Machines, short_folder: str) -> None:
    ended_by = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    hosts = boards.hosts[: len(ended_by)]
    started = [start_elsewhere(host, boards, short_folder) for host in hosts]
    for host in hosts:
        wait_until(lambda host=host: bool(host.processes(_SLEEPER)), "the job runs")
        assert host.left() == ["job"]
    for process, number in zip(started, ended_by, strict=True):
        process.send_signal(number)
    for host, process in zip(hosts, started, strict=True):
        process.wait(30)
        wait_until(lambda host=host: nothing_left(host), "the job is ended and removed")


def test_a_machine_that_dies_during_a_job_is_a_lost_connection(boards: Machines) -> None:
    host = boards[2]

    def die_soon() -> None:
        wait_until(lambda: bool(host.processes(_SLEEPER)), "the job runs")
        host.die()

    dying = threading.Thread(target=die_soon)
    dying.start()
    with (
        connected(host, boards) as board,
        pytest.raises(RemoteError, match="The connection to 'board-3' was lost"),
    ):
        board.run(Job([_LONG], {"a": b"a"}))
    dying.join()
    assert host.left() == ["job"]  # as after a power cut
    host.start()
    with connected(host, boards) as board:
        finished, _ = board.run(Job([["ls"]], {"b": b"b"}))
    assert finished.stdout == b"b\n"  # the old files were cleared away
    assert host.left() == []


def test_a_job_ends_with_the_network(boards: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, seconds in {"jobs._SILENCE_S": 4, "jobs._SIGN_EVERY_S": 0.5, "jobs._END_S": 0.1,
                           "login._END_S": 0.1}.items():  # fmt: skip
        monkeypatch.setattr(f"edgetl.remote.{place}", seconds)
    host, stop = boards[1], threading.Event()
    begun = []

    def cut_soon() -> None:
        wait_until(lambda: bool(host.processes(_SLEEPER)), "the job runs")
        (job,) = host.processes("end_with_connection")
        before = reads(job)
        # In more time than the silence that ends it: each sign of life is read.
        wait_until(lambda: reads(job) >= before + 9, "signs of life arrive")
        begun.extend(host.processes(_SLEEPER))
        host.set_link("down")
        wait_until(lambda: nothing_left(host), "the job is ended and removed")
        stop.set()

    cutting = threading.Thread(target=cut_soon)
    cutting.start()
    try:
        with connected(host, boards) as board, pytest.raises(StoppedError):
            board.run(Job([_LONG], {"a": b"a"}), stop=stop)
    finally:
        cutting.join()
        host.set_link("up")
    assert begun


def test_a_second_job_waits_for_the_first(
    board: Board, boards: Machines, short_folder: str
) -> None:
    first = start_elsewhere(board.host, boards, short_folder)
    wait_until(lambda: bool(board.host.processes(_SLEEPER)), "the first job runs")
    lines = Lines()

    def end_first() -> None:
        lines.some.wait(30)
        first.kill()

    ender = threading.Thread(target=end_first)
    ender.start()
    job = Job([["ls"]], {"b": b"b"})
    finished = run_job(board.connection, board.facts, job, lines.take)
    ender.join()
    first.wait()
    assert list(lines) == ["waiting for another job on this machine"]
    assert finished.stdout == b"b\n"


def test_files_that_do_not_fit_are_not_sent(board: Board) -> None:
    full = board._replace(facts=msgspec.structs.replace(board.facts, free_bytes=33_000_000))
    with pytest.raises(RemoteError) as caught:
        full.run(Job([["true"]], {"a": bytes(1_000_000)}))
    assert "'board-1' has no space for 1 MB: 33 MB are free" in str(caught.value)


def test_a_file_that_shrinks_while_it_is_sent_ends_the_job(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"long")

    def measured_before(content: Path) -> tuple[int, str]:
        return 10_000_000, "0" * 64

    monkeypatch.setattr("edgetl.remote.jobs.measured", measured_before)
    with pytest.raises(EdgetlError, match="became shorter while it was sent"):
        board.run(Job([["true"]], {"a": path}))
    wait_until(lambda: nothing_left(board.host), "the job is removed")


def test_a_file_that_changes_on_the_way_is_refused(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.remote.jobs.measured", lambda _: (1, "0" * 64))
    finished, lines = board.run(Job([["echo", "never"]], {"a": b"x"}))
    assert (finished.code, finished.stdout) == (1, b"")
    assert list(lines) == ["'a' arrived with another sha256"]
