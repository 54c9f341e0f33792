"""Connections to real SSH servers."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from edgetl.remote.address import Address, RemoteError, parse_address
from edgetl.remote.connection import Connection
from tests.making import inside
from tests.remote.namespaces import Machines, wait_until


def connect(boards: Machines, name: str = "board-1") -> Connection:
    return Connection(parse_address(name), ssh_config=boards.ssh_config)


def refused(boards: Machines, address: Address, ssh_config: Path | None = None) -> RemoteError:
    """The error of a connection that is not made."""
    with (
        pytest.raises(RemoteError) as caught,
        Connection(address, ssh_config=ssh_config or boards.ssh_config),
    ):
        pass
    return caught.value


@pytest.fixture(scope="module")
def board(boards: Machines):
    """A connection to the first machine."""
    with connect(boards) as connection:
        yield connection


def test_arguments_arrive_as_they_are(board: Connection) -> None:
    odd = ["a b", "$HOME", "`id`", "; exit 3", "'", '"', "\\", "*", "-n", "", "é", "two\nlines"]
    finished = board.run(["python3", "-c", "import sys; print(sys.argv[1:])", *odd])
    assert (finished.code, finished.stdout.decode()) == (0, f"{odd}\n")


def test_a_program_reads_its_input_and_its_exit_code_comes_back(board: Connection) -> None:
    finished = board.run(["sh", "-c", "wc -c; echo problem >&2; exit 7"], stdin=b"x" * 100_000)
    assert finished == (7, b"100000\n", "problem\n")


def test_a_program_that_takes_too_long_is_an_error(board: Connection) -> None:
    with pytest.raises(RemoteError, match="did not end within 0 s"):
        board.run(["sleep", "2"], timeout_s=0.3)


def test_a_machine_that_prints_without_end_is_stopped(board: Connection) -> None:
    with pytest.raises(RemoteError, match="sent more than 16 MB"):
        board.run(["cat", "/dev/zero"])


def test_a_folder_is_removed_also_if_it_is_not_there(board: Connection, boards: Machines) -> None:
    folder = boards[0].home / "a b"
    folder.mkdir()
    (folder / "file").touch()
    board.remove(str(folder))
    assert not folder.exists()
    board.remove(str(folder))


@pytest.mark.parametrize("path", ["/", "//", "/.", "relative", ""])
def test_the_root_folder_is_never_removed(board: Connection, path: str) -> None:
    with pytest.raises(ValueError, match="is not a path to remove"):
        board.remove(path)


def test_a_file_that_cannot_be_read_here_is_named(board: Connection, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"'.*none' cannot be read: No such file"):
        board.run(["cat"], stdin=tmp_path / "none")


def test_the_facts_are_those_of_the_machine(board: Connection, boards: Machines) -> None:
    facts = board.facts()
    assert facts.folder == str(boards[0].home / ".cache" / "edgetl" / "remote")
    assert facts.kernel == os.uname().machine
    assert (facts.environment, facts.bits) == (None, 64)
    assert facts.free_bytes > 0


def test_nothing_stays_after_a_connection(boards: Machines) -> None:
    with connect(boards, "board-2") as connection:
        connection.run(["true"])
        folder = Path(connection._login._folder)  # type: ignore[union-attr]
        assert inside(folder) == ["socket"]
        assert boards[1].processes()
    assert not folder.exists()
    wait_until(lambda: not boards[1].processes(), "the session ends")


def test_the_temporary_folder_may_have_a_space(
    boards: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="et ", dir="/tmp") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        with connect(boards) as connection:
            assert connection.run(["echo", "a"]).stdout == b"a\n"


def test_a_machine_without_that_python_is_named(boards: Machines) -> None:
    address = parse_address("board-1")._replace(python="/opt/none/python3")
    with (
        Connection(address, ssh_config=boards.ssh_config) as connection,
        pytest.raises(RemoteError, match="'board-1' has no Python as '/opt/none/python3'"),
    ):
        connection.facts()


def test_an_unknown_host_key_is_not_accepted(boards: Machines, tmp_path: Path) -> None:
    config = tmp_path / "config"
    known = boards.ssh_config.with_name("known_hosts")
    config.write_text(boards.ssh_config.read_text().replace(str(known), str(tmp_path / "known")))
    # Also where the user's configuration lets ssh accept it.
    config.write_text(f"StrictHostKeyChecking accept-new\n{config.read_text()}")
    error = refused(boards, parse_address("board-1"), config)
    assert str(error) == "The host key of 'board-1' is not known here."
    assert error.hint.startswith(f"run `ssh -F {config} board-1` once, and compare the fingerprint")
    assert not (tmp_path / "known").exists()


def test_a_changed_host_key_is_not_accepted(boards: Machines, tmp_path: Path) -> None:
    known = boards.ssh_config.with_name("known_hosts")
    first, second, *others = known.read_text().splitlines()
    swapped = first.split()[0] + " " + second.partition(" ")[2]
    (tmp_path / "known").write_text("\n".join([swapped, second, *others]))
    config = tmp_path / "config"
    config.write_text(boards.ssh_config.read_text().replace(str(known), str(tmp_path / "known")))
    error = refused(boards, parse_address("board-1"), config)
    assert str(error) == "The host key of 'board-1' has changed: it may be another machine."
    assert f"remove the old key, line 1 of '{tmp_path / 'known'}', and add the new" in error.hint


def test_a_refused_login_says_what_to_check(boards: Machines, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    config = tmp_path / "config"
    ours = str(boards.ssh_config.with_name("key"))
    config.write_text(boards.ssh_config.read_text().replace(f"IdentityFile {ours}\n", "\n"))
    address = parse_address("board-1")._replace(key_file=key)
    error = refused(boards, address, config)
    assert str(error) == "'board-1' refused the login."
    assert "ssh-copy-id" in error.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-such-host.invalid", "The name of 'no-such-host.invalid' cannot be resolved."),
        ("ssh://root@127.0.0.1:1", "'ssh://root@127.0.0.1:1' refuses connections."),
    ],
)
def test_a_machine_that_cannot_be_reached_is_named(
    boards: Machines, text: str, message: str
) -> None:
    assert str(refused(boards, parse_address(text))) == message


def test_a_machine_that_prints_at_every_login_is_named(boards: Machines) -> None:
    startup = boards[2].home / ".bashrc"
    startup.write_text("echo Welcome\n")
    try:
        error = refused(boards, parse_address("board-3"))
    finally:
        startup.unlink()
    assert str(error) == "'board-3' prints text whenever a command is run there."
    assert "~/.bashrc" in error.hint


def test_a_machine_that_dies_is_a_lost_connection(boards: Machines) -> None:
    with connect(boards, "board-3") as connection:
        boards[2].die()
        with pytest.raises(RemoteError) as caught:
            connection.run(["true"])
    assert str(caught.value) == "The connection to 'board-3' was lost."
    boards[2].start()
