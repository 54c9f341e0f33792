import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgetl.benchmarking.reports import BenchReport, Mode
from edgetl.benchmarking.validity import judge
from edgetl.bundle.archive import Bundle
from edgetl.core.errors import EdgetlError
from edgetl.remote.compare import compare_bundles
from edgetl.remote.results import Results
from tests.benchmarking.rows import HOST, report, row
from tests.conftest import Command

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=timezone.utc)
OLD, NEW = "a" * 64, "b" * 64
NAMES = {OLD: "old.edgetl", NEW: "new.edgetl"}
OTHER_HOST = msgspec.structs.replace(HOST, cpu="Cortex-A53")


def measured(p50_ms: float, digest: str, mode: Mode = "valid", **other: Any) -> BenchReport:
    """A report with one row, judged by the rules of its mode."""
    rows = [row(p50_ms, calls=2000)]
    verdict = judge(rows, mode)
    return report(rows, digest, mode=mode, verdict=verdict, bundle=NAMES[digest], **other)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two bundles on `pi`, the first of them twice, and only the first on `nano`."""
    made = Results(tmp_path / "r.sqlite")
    made.store(measured(90.0, OLD), "pi", NOON - timedelta(hours=1))
    made.store(measured(50.0, OLD), "pi", NOON)
    made.store(measured(40.0, NEW, "quick"), "pi", NOON)
    made.store(measured(80.0, OLD, host=OTHER_HOST), "nano", NOON)
    return made


def test_the_newest_measurement_counts_and_is_compared_on_the_same_host(results: Results) -> None:
    compared = compare_bundles(results)
    assert [(m.bundle, m.host, m.validity) for m in compared.measurements] == [
        ("old.edgetl", "nano", "valid"),
        ("old.edgetl", "pi", "valid"),
        ("new.edgetl", "pi", "quick look"),
    ]
    assert [m.p50_ms for m in compared.measurements] == pytest.approx([80.0, 50.0, 40.0])
    assert [m.ratio for m in compared.measurements] == pytest.approx([1.0, 1.0, 0.8])
    (beside,) = compared.comparisons
    assert (beside.host, beside.bundle_digest) == ("pi", NEW)
    assert [one.verdict for one in beside.rows] == ["faster"]
    assert beside.rows[0].old_ms == pytest.approx(50.0)


def test_the_first_bundle_that_is_named_is_what_the_others_are_compared_with(
    results: Results,
) -> None:
    compared = compare_bundles(results, [NEW[:8], OLD[:8]])
    assert list(compared.bundles) == [NEW, OLD]
    ratios = [one.ratio and round(one.ratio, 6) for one in compared.measurements]
    assert ratios == [1.0, None, 1.25]
    assert [one.rows[0].verdict for one in compared.comparisons] == ["slower"]


def test_the_same_name_on_another_machine_is_not_compared(results: Results) -> None:
    results.store(measured(5.0, NEW, host=OTHER_HOST), "pi", NOON + timedelta(hours=1))
    new = [one for one in compare_bundles(results).measurements if one.bundle_digest == NEW]
    ratios = {round(one.p50_ms): one.ratio and round(one.ratio, 6) for one in new}
    assert ratios == {40: 0.8, 5: None}


def test_hosts_are_chosen_by_name_or_fingerprint(results: Results) -> None:
    (only,) = compare_bundles(results, hosts=["nano"]).measurements
    assert compare_bundles(results, hosts=[only.fingerprint[:10]]).measurements == (only,)
    with pytest.raises(EdgetlError, match="Nothing was measured on 'nanu'") as caught:
        compare_bundles(results, hosts=["nanu"])
    assert caught.value.hint == "did you mean 'nano'? The choices are: nano, pi."


def test_an_unknown_or_unmeasured_bundle_is_an_error(results: Results, paper_bundle: Path) -> None:
    with pytest.raises(EdgetlError, match="was not measured"):
        compare_bundles(results, [str(paper_bundle)])
    with pytest.raises(EdgetlError, match="0 measured bundles have a hash that begins with"):
        compare_bundles(results, ["abcdef"])
    with pytest.raises(EdgetlError, match=r"'none\.edgetl' is not a file"):
        compare_bundles(results, ["none.edgetl"])
    results.store(report([row()], Bundle(paper_bundle).digest), "pi", NOON)
    (only,) = compare_bundles(results, [str(paper_bundle)]).measurements
    assert only.bundle_digest == Bundle(paper_bundle).digest


def test_the_command_prints_a_table_and_the_comparison(edgetl: Command, results: Results) -> None:
    answer = edgetl("compare", "--results", results.path, "--wide")
    assert answer.code == 0
    table, beside = answer.out.split("\n\n")
    header, *rows = table.splitlines()
    assert " ".join(header.split()) == (
        "bundle host artifact engine threads p50 ms 95 % p90 ms ratio valid MB when, UTC"
    )
    assert [line.split()[:2] for line in rows] == [
        ["old.edgetl", "nano"],
        ["old.edgetl", "pi"],
        ["new.edgetl", "pi"],
    ]
    assert " 0.80  quick look " in rows[2]
    assert rows[2].endswith("4.0  2026-11-27 12:00")
    title, _, compared = beside.splitlines()
    assert title == "new.edgetl beside old.edgetl on pi:"
    assert compared.split()[0] == "onnx-int8"
    assert compared.endswith("faster")


def test_the_command_prints_one_json_document(edgetl: Command, results: Results) -> None:
    answer = edgetl("compare", "--results", results.path, "--host", "pi", "--json")
    document = json.loads(answer.out)
    assert document["bundles"] == {OLD: "old.edgetl", NEW: "new.edgetl"}
    assert [round(one["p50_ms"]) for one in document["measurements"]] == [50, 40]


def test_without_results_there_is_nothing_to_compare(edgetl: Command, tmp_path: Path) -> None:
    answer = edgetl("compare", "--results", tmp_path / "none.sqlite")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        f"Error: '{tmp_path / 'none.sqlite'}' does not exist: nothing was measured yet.",
        "Hint: measure first: edgetl bench BUNDLE --on user@host.",
    ]
    Results(tmp_path / "empty.sqlite")
    answer = edgetl("compare", "--results", tmp_path / "empty.sqlite")
    assert "holds no results" in answer.err
