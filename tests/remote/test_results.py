"""The file of results: several writers, other programs' files, and what identifies a host."""

import sqlite3
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from edgetl.core.errors import EdgetlError
from edgetl.remote.results import Results, default_file, existing_results, fingerprint_of
from tests.benchmarking.rows import HOST, report, row

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=timezone.utc)


def test_a_report_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    made = report([row(12.5), row(7.0, artifact="tflite-int8")])
    Results(tmp_path / "r.sqlite").store(made, "pi", NOON)
    (stored,) = Results(tmp_path / "r.sqlite").reports()
    assert stored.report == made
    assert (stored.host, stored.bundle, stored.measured_at) == ("pi", "model.edgetl", NOON)
    assert stored.fingerprint == fingerprint_of(HOST)


def test_the_file_has_a_table_for_queries_by_hand(tmp_path: Path) -> None:
    Results(tmp_path / "r.sqlite").store(report([row(12.5), row(7.0, engine="x 1")]), "pi", NOON)
    query = (
        "SELECT host, artifact, engine, threads, round(p50_ms, 6), picture_p50_ms FROM measurement"
    )
    with sqlite3.connect(tmp_path / "r.sqlite") as database:
        rows = database.execute(query).fetchall()
    assert rows == [
        ("pi", "onnx-int8", "onnxruntime 1.31.1", 4, 12.5, None),
        ("pi", "onnx-int8", "x 1", 4, 7.0, None),
    ]


def test_several_processes_make_and_fill_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.remote.results import Results\n"
        "from tests.benchmarking.rows import report, row\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for _ in range(20): Results(Path(sys.argv[1])).store(report([row()]), sys.argv[2])\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), f"pi{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for i in range(3)
    ]
    for writer in writers:
        assert writer.stdout
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"\n")
        assert writer.returncode == 0
    hosts = [stored.host for stored in Results(path).reports()]
    assert {name: hosts.count(name) for name in set(hosts)} == {"pi0": 20, "pi1": 20, "pi2": 20}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "Cortex-A53"},
        {"cores": 2},
        {"isa": ("asimd", "asimddp")},
        {"memory_bytes": 2**31},
        {"system": "Linux 6.6"},
        {"python": "3.13.1"},
        {"engines": ("litert 2.4.0",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_machine_or_software_is_another_fingerprint(change: dict) -> None:
    other = msgspec.structs.replace(HOST, **change)
    assert fingerprint_of(other) != fingerprint_of(HOST)


def test_the_state_of_a_machine_does_not_change_its_fingerprint() -> None:
    later = msgspec.structs.replace(
        HOST, temperature_c=80.0, load_1min=3.0, frequency_mhz=600.0, governor="powersave",
        memory_bytes=HOST.memory_bytes - 3_000_000,
    )  # fmt: skip
    assert fingerprint_of(later) == fingerprint_of(HOST)


def test_a_file_of_something_else_is_refused_and_unchanged(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("my notes, which are longer than the header of a database" * 20)
    with pytest.raises(EdgetlError, match="cannot be used as a file of results"):
        Results(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE holidays (day TEXT)")
    before = other.read_bytes()
    with pytest.raises(EdgetlError, match="is another program's database"):
        Results(other)
    assert other.read_bytes() == before
    assert text.read_text().startswith("my notes")


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    Results(path)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(EdgetlError, match=r"has schema version 2; this edgetl reads up to 1"):
        Results(path)


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError):
        Results(tmp_path)
    with pytest.raises(EdgetlError, match="does not exist: nothing was measured yet"):
        existing_results(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


def test_a_report_that_was_tampered_with_is_an_error(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.sqlite")
    results.store(report([row()]), "pi")
    with sqlite3.connect(results.path) as database:
        database.execute("UPDATE report SET document = '{}'")
    with pytest.raises(EdgetlError, match="a report in"):
        results.reports()


def test_names_cannot_change_the_query(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.sqlite")
    results.store(report([row()]), "x'); DROP TABLE report; --")
    assert [stored.host for stored in results.reports()] == ["x'); DROP TABLE report; --"]


def test_the_default_file_is_in_the_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("EDGETL_DATA", raising=False)
    assert default_file() == tmp_path / "edgetl" / "results.sqlite"
    monkeypatch.setenv("EDGETL_DATA", str(tmp_path / "mine"))
    assert default_file() == tmp_path / "mine" / "results.sqlite"
