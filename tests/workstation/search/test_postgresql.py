"""Two processes that share a study in a PostgreSQL server, which is started for the test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")
pytest.importorskip("psycopg")

from edgetl.core.errors import EdgetlError
from edgetl.workstation.search.storage import Place
from tests.making import inside, write_class_folders
from tests.workstation.search.making import search_of, start, write_recipe

PASSWORD = "s3cret"


def program(name: str) -> str | None:
    """A program of PostgreSQL; Debian installs it outside PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else shutil.which(name)


def as_server(*command: object) -> None:
    """Run a program as the user `nobody` if this is root, as whom PostgreSQL refuses to run."""
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    subprocess.run(
        [*(nobody if os.geteuid() == 0 else []), *map(str, command)],
        check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/",
    )  # fmt: skip


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a database, through a socket in a folder of the server's own."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if not initdb or not pg_ctl or (os.geteuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # The path of a socket may have 107 characters, and pytest's folders are for root only.
    with tempfile.TemporaryDirectory(prefix="edgetl-pg-", dir="/tmp") as name:
        folder, secret = Path(name), Path(name) / "password"
        secret.write_text(PASSWORD)
        for path in (folder, secret):
            if os.geteuid() == 0:
                shutil.chown(path, "nobody")
        as_server(initdb, "-D", folder / "data", "-U", "me", "--pwfile", secret, "-A",
                  "scram-sha-256", "--no-sync", "-E", "UTF8", "--no-locale")  # fmt: skip
        server = (pg_ctl, "-D", folder / "data", "-w")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        as_server(*server, "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://me:{PASSWORD}@/postgres?host={folder}"
        finally:
            as_server(*server, "-m", "immediate", "stop")


@pytest.mark.slow
def test_two_processes_share_a_study_in_a_database(url: str, tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", per_class=8)
    mine = write_recipe(tmp_path / "mine.yaml")
    outs = [tmp_path / "one", tmp_path / "two"]
    processes = [start(mine, photos, "-o", o, "--storage", url, "--trials", 3) for o in outs]
    for process in processes:
        out, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert PASSWORD not in out + said
    made = search_of(mine, photos, tmp_path / "both", url, trials=3)
    assert [trial.number for trial in made.trials] == [1, 2, 3] and made.counted == 3
    assert [trial.own for trial in made.trials] == [True, False, False]
    runs = [name for out in outs if (out / "trials").is_dir() for name in inside(out / "trials")]
    assert sorted(runs) == [str(trial.number) for trial in made.having("finished")]
    for out in outs:
        assert PASSWORD not in (out / "search.json").read_text()
    assert unquote(made.storage) == url.replace(PASSWORD, "***")


def test_a_wrong_password_is_an_error_that_does_not_repeat_it(url: str) -> None:
    wrong = url.replace(PASSWORD, "wr0ng")
    with pytest.raises(EdgetlError, match=r"me:\*\*\*@.*password authentication failed") as caught:
        Place(wrong).open()
    assert "wr0ng" not in str(caught.value)
