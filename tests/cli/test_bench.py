"""`bench`'s rules, gates, profile and baseline, through the entry point."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetl.bundle.archive import Bundle
from tests.benchmarking.rows import report, row

ONE = ("--engine", "onnxruntime", "--artifact", "onnx-int8", "--threads", 1)


@pytest.fixture(autouse=True)
def needs_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")


def test_the_verdict_stands_under_the_table_and_in_the_document(
    edgetl, tiny_bundle, tmp_path
) -> None:
    answer = edgetl("bench", tiny_bundle, *ONE, "--json", tmp_path / "b.json")
    assert answer.code == 0, answer.err
    last = " ".join(answer.out.rpartition("\n\n")[2].split())
    assert last.startswith("quick look: --mode valid times 1,024 queries and 60 s of each artifact")
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["verdict"]["text"] == last
    assert written["verdict"]["valid"] is False
    around = written["rows"][0]["surroundings"]
    assert {"governor", "frequency_mhz", "temperature_c", "throttled"} <= set(around["before"])
    assert set(around["before"]) == set(around["after"])


def test_each_quantile_is_shown_with_its_interval(edgetl, tiny_bundle, pictures) -> None:
    out = edgetl("bench", tiny_bundle, pictures / "checks", *ONE, "--wide").out
    lines = [line for line in out.splitlines() if line.startswith("onnx-int8 onnxruntime")]
    assert [line.split("  ")[1] for line in lines] == ["inference", "picture to prediction"]
    for line in lines:
        assert line.count(" to ") == 2 + ("picture to prediction" in line)
        assert line.endswith("or more")  # 200 calls do not bound the p99 from above


def test_throughput_and_profile_are_shown(edgetl, tiny_bundle) -> None:
    answer = edgetl("bench", tiny_bundle, *ONE, "--mode", "throughput", "--profile")
    assert answer.code == 0, answer.err
    assert "pictures/s" in answer.out
    table = answer.out.partition("by its own profiler:\n")[2].splitlines()
    assert table[0].split() == ["operator", "kind", "ms", "%", "of", "all"]
    assert len(table[1 : table.index("")]) <= 16  # fifteen, and how many more there are
    assert "kind of operator" in answer.out


def test_an_engine_without_a_profiler_says_so(edgetl, tiny_bundle) -> None:
    pytest.importorskip("ai_edge_litert")
    answer = edgetl("bench", tiny_bundle, "--artifact", "tflite-int8", "--engine", "litert",
                    "--threads", 1, "--profile")  # fmt: skip
    assert answer.code == 0
    assert "no profile. litert's Python package offers no profiler;" in answer.out


def test_a_missed_budget_exits_3_and_says_by_how_much(edgetl, tiny_bundle, tmp_path) -> None:
    answer = edgetl(
        "bench", tiny_bundle, *ONE, "--max-latency", 1e-6, "--max-size", 0.001, "--max-memory", 1,
        "--json", tmp_path / "b.json",
    )  # fmt: skip
    assert answer.code == 3
    (error,) = (line for line in answer.err.splitlines() if line.startswith("Error: "))
    assert error.startswith("Error: onnx-int8 through onnxruntime")
    for part in ("inference p90", "over --max-latency 1e-06", "over --max-size 0.001",
                 "over --max-memory 1."):  # fmt: skip
        assert part in error
    assert "p50 ms" in answer.out  # what was measured is shown and kept all the same
    assert json.loads((tmp_path / "b.json").read_text())["rows"]


def test_a_file_is_too_large_on_a_calm_machine_as_well(edgetl, tiny_bundle) -> None:
    answer = edgetl("bench", tiny_bundle, *ONE, "--max-size", 0.001, "--max-latency", 1e6)
    assert answer.code == 3
    assert answer.err.splitlines()[-1].startswith("Error: ")  # nothing says: measure again


def test_a_budget_that_is_kept_is_fine_and_one_of_nothing_is_refused(edgetl, tiny_bundle) -> None:
    kept = ("--max-latency", 1e6, "--max-size", 1e6, "--max-memory", 1e6)
    assert edgetl("bench", tiny_bundle, *ONE, *kept).code == 0
    assert edgetl("bench", tiny_bundle, *ONE, "--max-latency", 0).code == 2


def baseline(path: Path, tiny_bundle: Path, p50_ms: float) -> Path:
    """A report of this bundle with one row as this machine's onnxruntime would make it."""
    from edgetl.core.schema import to_json

    made = report([row(p50_ms, threads=1)], Bundle(tiny_bundle).digest)
    path.write_text(to_json(made))
    return path


def test_a_regression_exits_3(edgetl, tiny_bundle, tmp_path) -> None:
    old = baseline(tmp_path / "old.json", tiny_bundle, p50_ms=1e-4)
    answer = edgetl("bench", tiny_bundle, *ONE, "--baseline", old)
    assert answer.code == 3
    assert "times the baseline's 0.00.\n" in answer.err
    assert "Warning: the baseline is of another host: machine Made Board 1, now" in answer.err
    (line,) = (line for line in answer.out.splitlines() if line.endswith("slower"))
    assert line.startswith("onnx-int8")


def test_a_faster_run_is_fine_and_its_comparison_is_in_the_document(
    edgetl, tiny_bundle, tmp_path
) -> None:
    old = baseline(tmp_path / "old.json", tiny_bundle, p50_ms=1e6)
    answer = edgetl("bench", tiny_bundle, *ONE, "--baseline", old, "--json", "-")
    assert answer.code == 0
    (one,) = json.loads(answer.out)["comparison"]
    assert (one["artifact"], one["verdict"]) == ("onnx-int8", "faster")
    assert one["ratio"] < 1


def test_a_report_of_this_machine_is_a_baseline_without_a_warning(
    edgetl, tiny_bundle, tmp_path
) -> None:
    file = tmp_path / "b.json"
    assert edgetl("bench", tiny_bundle, *ONE, "--json", file).code == 0
    answer = edgetl("bench", tiny_bundle, *ONE, "--baseline", file)
    assert answer.code in (0, 3)  # how fast it was the second time is not ours to say
    assert "Warning" not in answer.err
    assert "beside the baseline" in answer.out


def test_a_baseline_that_is_none_is_refused_before_anything_is_timed(
    edgetl, tiny_bundle, tmp_path
) -> None:
    answer = edgetl("bench", tiny_bundle, *ONE, "--baseline", tmp_path / "none.json")
    assert answer.code == 1
    assert answer.err.splitlines()[0] == (
        f"Error: '{tmp_path / 'none.json'}' cannot be read: No such file or directory."
    )
    other = tmp_path / "other.json"
    from edgetl.core.schema import to_json

    other.write_text(to_json(report([row()])))
    answer = edgetl("bench", tiny_bundle, *ONE, "--baseline", other)
    assert answer.code == 1
    assert "was measured with another bundle" in answer.err.splitlines()[0]
    assert answer.out == ""


@pytest.mark.parametrize("threads", [0, 100_000])
def test_threads_out_of_range_are_refused(edgetl, tiny_bundle, threads: int) -> None:
    answer = edgetl("bench", tiny_bundle, "--threads", threads)
    assert answer.code == 1
    assert answer.err.splitlines()[0] == f"Error: --threads {threads} is out of range."


def test_ctrl_c_prints_what_there_is_as_one_document_and_exits_130(tiny_bundle: Path) -> None:
    command = [sys.executable, "-c", "from edgetl.cli.process import start; start()"]
    options = ["bench", str(tiny_bundle), *map(str, ONE), "--mode", "valid", "--json", "-"]
    running = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "onnx-int8 through onnxruntime: 1 min or more\n"
    time.sleep(1)  # anywhere within that minute
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "Interrupted."
    written = json.loads(out)
    assert (written["cut_short"], written["rows"]) == (True, [])
    assert written["verdict"]["text"].startswith("invalid because it was cut short")
