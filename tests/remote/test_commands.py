"""`bench`, `verify`, `tune` and `run` on real SSH servers, through the entry point."""

import contextlib
import json
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.bundle.archive import Bundle
from edgetl.remote.results import Results
from edgetl.remote.wheel import own_wheel
from tests.conftest import Answer, Command
from tests.remote.conftest import furnish
from tests.remote.namespaces import Host, Machines, processor_share, wait_until

pytest.importorskip("ai_edge_litert")
ONE = ("--artifact", "tflite-int8", "--engine", "litert", "--threads", 1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of edgetl's."""
    monkeypatch.setenv("EDGETL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def on(furnished: Machines) -> tuple[object, ...]:
    """The options that lead to the first machine."""
    return ("--on", "board-1", "--ssh-config", furnished.ssh_config)


def lines_of(answer: Answer, mark: str) -> list[str]:
    return [line for line in answer.err.splitlines() if line.startswith(mark)]


def test_bench_prints_what_it_prints_here_and_keeps_the_result(
    edgetl: Command, on, furnished: Machines, tiny_bundle: Path, pictures: Path, data: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    file, some = tmp_path / "b.json", pictures / "checks"
    bench = ("bench", tiny_bundle, *on, *ONE, "--cool-down")
    answer = edgetl(*bench, 1.5, some, "--json", file, "--wide")
    assert answer.code == 0, answer.err
    facts, _, _, header, row, *_ = answer.out.splitlines()
    assert facts.endswith(f"Python {platform.python_version()}")
    assert (header.split()[0], row.split()[:2]) == ("artifact", ["tflite-int8", "litert"])
    assert any(line.startswith("board-1: benchmarking: 1/1") for line in answer.err.splitlines())
    assert furnished[0].left() == []

    report = json.loads(file.read_text())
    digest = Bundle(tiny_bundle).digest
    assert (report["bundle"], report["bundle_digest"]) == (str(tiny_bundle), digest)
    assert (report["pictures"], report["rows"][0]["end_to_end"]["calls"]) == (20, 200)
    (stored,) = Results(data / "results.sqlite").reports()
    assert stored.host == "board-1"
    assert stored.report.rows[0].inference.p50_ms == report["rows"][0]["inference"]["p50_ms"]

    # Budgets and baselines are judged here, on what was measured there.
    inference = report["rows"][0]["inference"]
    inference["p50_ms"] /= 100
    inference["p50_interval"] = {"low_ms": 1e-6, "high_ms": 1e-5}
    file.write_text(json.dumps(report))
    slower = edgetl(*bench, 0, "--baseline", file, "--max-size", 0.001)
    assert slower.code == 3
    assert "over --max-size 0.001" in slower.err
    assert "times the baseline's" in slower.err


def test_bench_here_is_kept_on_request(
    edgetl: Command, tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    assert edgetl("bench", tiny_bundle, *ONE).code == 0
    assert not data.exists()
    file = tmp_path / "mine.sqlite"
    assert edgetl("bench", tiny_bundle, *ONE, "--results", file).code == 0
    assert [one.host for one in Results(file).reports()] == [platform.node()]


def test_a_file_of_results_that_cannot_be_used_is_an_error_before_anything_is_measured(
    edgetl: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine " * 100)
    answer = edgetl("bench", tiny_bundle, "--on", "board-1", "--results", tmp_path / "notes.txt")
    assert (answer.code, answer.out) == (1, "")
    assert "cannot be used as a file of results" in answer.err


def test_an_error_there_is_the_error_here(
    edgetl: Command, on, tiny_bundle: Path, data: Path
) -> None:
    answer = edgetl("bench", tiny_bundle, *on, "--artifact", "tflite-int9", "--cool-down", 0)
    assert (answer.code, answer.out) == (1, "")
    error, hint = answer.err.splitlines()[-2:]
    assert error == f"Error: on 'board-1': '{tiny_bundle}' has no artifact 'tflite-int9'."
    assert hint.startswith("Hint: did you mean 'tflite-int8'?")
    assert Results(data / "results.sqlite").reports() == []


def test_verify_prints_what_it_prints_here(edgetl: Command, on, tiny_bundle: Path) -> None:
    answer = edgetl("verify", tiny_bundle, *on)
    assert answer.code == 0, answer.err
    title, _, rest = answer.out.partition("sha256\n")
    assert title.startswith(f"{tiny_bundle}: ")
    header, *rows = rest.splitlines()
    assert header.split() == ["artifact", "engine", "status", "labels", "difference"]
    assert ["tflite-int8", "litert", "right", "8/8"] in [row.split()[:4] for row in rows]


def test_tune_there_is_kept_there(
    edgetl: Command, on, furnished: Machines, tiny_bundle: Path, pictures: Path
) -> None:
    tuned = edgetl("tune", tiny_bundle, *on, "--json")
    assert tuned.code == 0, tuned.err
    best = json.loads(tuned.out)[0]
    (kept,) = (furnished[0].home / ".cache" / "edgetl" / "tuned").iterdir()
    assert json.loads(kept.read_text()) == best


def test_run_there_answers_as_it_does_here(
    edgetl: Command, on, furnished: Machines, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    asked = (tmp_path / "bad.jpg", pictures / "checks", pictures / "slope" / "03.png")
    options = ("--artifact", "tflite-int8", "--engine", "litert", "--top", 2)
    there = edgetl("run", tiny_bundle, *asked, *on, *options, "--json")
    here = edgetl("run", tiny_bundle, *asked, *options, "--json")
    answers = [
        [(one["source"], one["label"], one["top"]) for one in json.loads(answer.out)]
        for answer in (there, here)
    ]
    assert len(answers[0]) == 21
    assert answers[0] == answers[1]
    assert there.code == here.code == 1
    assert lines_of(there, "Error: ") == lines_of(here, "Error: ")
    assert f"'{tmp_path / 'bad.jpg'}' cannot be read as a picture" in there.err
    assert furnished[0].left() == []


def test_run_sends_standard_input(edgetl: Command, on, tiny_bundle: Path, pictures: Path) -> None:
    photo = (pictures / "stripes" / "01.png").read_bytes()
    there = edgetl(
        "run", tiny_bundle, "-", *on, "--engine", "litert", "--format", "csv", stdin=photo
    )
    assert there.code == 0, there.err
    header, row = there.out.splitlines()
    assert (header.split(",")[0], row.split(",")[0]) == ("source", "-")


def test_run_sends_no_endless_sources(edgetl: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    answer = edgetl("run", tiny_bundle, "--watch", tmp_path, "--on", "board-1")
    assert (answer.code, answer.out) == (2, "")
    assert "a camera or stream is classified where it is" in " ".join(answer.err.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--inventory", "x.ini"), "--on and --inventory exclude each other."),
        (("--hosts", "x"), "--hosts belongs to --inventory."),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(
    edgetl: Command, tiny_bundle: Path, options: tuple[str, str], message: str
) -> None:
    answer = edgetl("verify", tiny_bundle, "--on", "board-1", *options)
    assert answer.code == 2
    assert message in answer.err


def test_options_of_one_place_are_refused_in_another(
    edgetl: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    kept = ("--collect", tmp_path / "kept")
    assert edgetl("run", tiny_bundle, pictures, "--on", "pi", *kept).code == 2
    assert not (tmp_path / "kept").exists()
    assert edgetl("bench", tiny_bundle, "--cool-down", 5).code == 2
    assert edgetl("verify", tiny_bundle, "--on", "pi", "--record").code == 2
    answer = edgetl("verify", tiny_bundle, "--on", "emulated:pi")
    assert "A bundle cannot be verified on 'emulated:pi'" in answer.err
    answer = edgetl("verify", tiny_bundle, "--on", "-oProxyCommand=x")
    assert (answer.code, answer.err.splitlines()[0]) == (
        1,
        "Error: '-oProxyCommand=x' is not the address of a machine.",
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "boards.ini"
    path.write_text("[boards]\nboard-[1:3]\n")
    return path


@contextlib.contextmanager
def dying_during_a_benchmark(host: Host) -> Iterator[None]:
    """Kill a machine once it is measuring; it is started again after the block."""

    def die() -> None:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: bool(host.processes("edgetl bench")), "it measures")
            host.die()

    thread = threading.Thread(target=die)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        host.die()
        host.start()


def test_a_host_that_dies_and_a_slow_one_do_not_keep_the_others(
    edgetl: Command, furnished: Machines, tiny_bundle: Path, inventory: Path, data: Path
) -> None:
    with (
        processor_share(furnished[2], 0.3) as throttled,
        dying_during_a_benchmark(furnished[1]),
    ):
        answer = edgetl(
            "bench", tiny_bundle, "--inventory", inventory, "--ssh-config", furnished.ssh_config,
            *ONE, "--cool-down", 0, "--json", "-",
        )  # fmt: skip
        assert throttled is None or throttled() > 0
    assert answer.code == 1
    one, two, three = json.loads(answer.out)["hosts"]
    assert [host["host"] for host in (one, two, three)] == ["board-1", "board-2", "board-3"]
    assert (two["report"], two["error"]) == (None, "The connection to 'board-2' was lost.")
    assert two["hint"]
    assert all(host["report"]["rows"][0]["artifact"] == "tflite-int8" for host in (one, three))
    assert lines_of(answer, "Error: ") == ["Error: 1 of 3 hosts failed: board-2."]
    stored = Results(data / "results.sqlite").reports()
    assert sorted(one.host for one in stored) == ["board-1", "board-3"]
    compared = edgetl("compare", "--wide")
    assert [line.split()[1] for line in compared.out.splitlines()[1:]] == ["board-1", "board-3"]


def test_verify_on_several_hosts_has_a_line_for_each(
    edgetl: Command, furnished: Machines, tiny_bundle: Path, tmp_path: Path
) -> None:
    inventory = tmp_path / "boards.yml"
    inventory.write_text(
        "boards:\n  hosts:\n    board-1:\n    nowhere: {ansible_host: 127.0.0.1, ansible_port: 1}\n"
    )
    answer = edgetl(
        "verify", tiny_bundle, "--inventory", inventory, "--ssh-config", furnished.ssh_config,
        "--wide",
    )  # fmt: skip
    assert answer.code == 1
    rows = [line.split() for line in answer.out.splitlines()]
    assert ["board-1", "tflite-int8", "litert", "right"] in [row[:4] for row in rows]
    assert rows[-1][0] == "nowhere"
    assert "'nowhere' refuses connections." in answer.out
    assert lines_of(answer, "Error: ") == ["Error: 1 of 2 hosts failed: nowhere."]


def test_ctrl_c_ends_what_runs_on_every_host(
    boards: Machines, tiny_bundle: Path, inventory: Path, data: Path
) -> None:
    own_wheel.cache_clear()  # the new process makes its own: a file may have changed since
    hosts = boards.hosts[:3]
    for host in hosts:
        furnish(host)
    command = [sys.executable, "-m", "edgetl", "bench", str(tiny_bundle), "--mode", "valid"]
    command += ["--inventory", str(inventory), "--ssh-config", str(boards.ssh_config)]
    started = subprocess.Popen(
        [*command, "--cool-down", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for host in hosts:
        wait_until(lambda host=host: bool(host.processes("edgetl bench")), "it measures")
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert started.returncode == 130, err
    assert out.count("It was interrupted.") == 3
    assert err.splitlines()[-1] == "Interrupted."
    for host in hosts:
        assert host.left() == []
        wait_until(lambda host=host: not host.processes(), "nothing runs")
