"""`run`, `bench`, `verify`, `inspect`, `evaluate` and the small ones, through the entry point."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.bundle.archive import Bundle
from edgetl.cli.evaluate import _text as evaluate_text
from edgetl.core.shipped import shipped_names
from edgetl.evaluation.metrics import accuracy_report
from tests.evaluation.test_parity import rewritten
from tests.making import inside, write_class_folders
from tests.tiny import NETWORK

LABELS = {"checks", "slope", "stripes"}


@pytest.fixture
def photo(pictures: Path) -> Path:
    return pictures / "checks" / "00.png"


def expect_error(answer, message: str, hint: str | None = None, code: int = 1) -> None:
    """Nothing on standard output, two lines on standard error, and the exit code."""
    lines = [line for line in answer.err.splitlines() if line.startswith(("Error: ", "Hint: "))]
    assert lines[0] == f"Error: {message}"
    if hint is not None:
        assert lines[1:] == ([f"Hint: {hint}"] if hint else [])
    assert (answer.code, answer.out) == (code, "")
    assert "Traceback" not in answer.err


def test_run_answers_for_a_file_with_exactly_one_json_document(edgetl, tiny_bundle, photo) -> None:
    answer = edgetl("run", tiny_bundle, photo, "--json")
    assert answer.code == 0
    (prediction,) = json.loads(answer.out)
    assert prediction["source"] == str(photo)
    assert prediction["label"] in LABELS
    assert {score["label"] for score in prediction["top"]} == LABELS
    assert sum(score["probability"] for score in prediction["top"]) == pytest.approx(1, abs=1e-5)
    assert prediction["probability"] == max(s["probability"] for s in prediction["top"])


def test_run_prints_a_line_for_each_picture(edgetl, tiny_bundle, pictures) -> None:
    answer = edgetl("run", tiny_bundle, pictures / "slope", "--top", 1)
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert [line.split(": ")[0] for line in lines] == [
        str(pictures / "slope" / f"{i:02}.png") for i in range(20)
    ]
    assert all(line.endswith(" ms") and "(" not in line for line in lines)


def test_run_takes_globs_and_several_sources(edgetl, tiny_bundle, pictures, photo) -> None:
    answer = edgetl("run", tiny_bundle, pictures / "*" / "03.png", photo, "--json")
    assert [prediction["source"] for prediction in json.loads(answer.out)] == [
        *(str(pictures / name / "03.png") for name in sorted(LABELS)),
        str(photo),
    ]


def test_run_takes_a_picture_from_standard_input(edgetl, tiny_bundle, photo) -> None:
    from_file = json.loads(edgetl("run", tiny_bundle, photo, "--json").out)[0]
    answer = edgetl("run", tiny_bundle, "-", "--json", stdin=photo.read_bytes())
    (prediction,) = json.loads(answer.out)
    assert prediction["source"] == "-"
    assert prediction["top"] == from_file["top"]


def test_run_takes_a_picture_from_a_real_pipe(tiny_bundle, photo) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "edgetl", "run", str(tiny_bundle), "-", "--json"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(result.stdout)[0]["label"] in LABELS


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "litert"])
def test_run_takes_the_engine_it_is_told(edgetl, tiny_bundle, photo, engine) -> None:
    pytest.importorskip({"litert": "ai_edge_litert"}.get(engine, engine))
    assert edgetl("run", tiny_bundle, photo, "--engine", engine).code == 0


def test_run_refuses_an_unreadable_picture(edgetl, tiny_bundle, tmp_path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    expect_error(
        edgetl("run", tiny_bundle, tmp_path / "bad.jpg"),
        f"'{tmp_path / 'bad.jpg'}' cannot be read as a picture: no known picture format.",
        "check that the file is whole; JPEG, PNG, WebP, BMP, GIF and TIFF work.",
    )


def test_run_answers_the_others_where_a_picture_is_broken(
    edgetl, tiny_bundle, photo, tmp_path
) -> None:
    (tmp_path / "bad.jpg").touch()
    answer = edgetl("run", tiny_bundle, photo, tmp_path / "bad.jpg", photo, "--json")
    assert [prediction["source"] for prediction in json.loads(answer.out)] == [str(photo)] * 2
    assert [line for line in answer.err.splitlines() if line.startswith("Error: ")] == [
        f"Error: '{tmp_path / 'bad.jpg'}' cannot be read as a picture: the file is empty.",
        "Error: 1 of 3 pictures could not be read.",
    ]
    assert answer.code == 1


def test_run_refuses_what_is_not_there(edgetl, tiny_bundle, photo, tmp_path) -> None:
    expect_error(
        edgetl("run", tiny_bundle, tmp_path / "none.jpg"),
        f"'{tmp_path / 'none.jpg'}' does not exist.",
    )
    expect_error(edgetl("run", tiny_bundle, tmp_path), f"'{tmp_path}' holds no pictures.", "")
    expect_error(
        edgetl("run", tmp_path / "none.edgetl", photo),
        f"'{tmp_path / 'none.edgetl'}' is not a file.",
        "make one with `edgetl export RUN -o model.edgetl`.",
    )
    expect_error(edgetl("run", tiny_bundle, "-"), "Standard input is empty.")


def test_run_lists_the_choices_for_a_misspelt_engine_or_artifact(
    edgetl, tiny_bundle, photo
) -> None:
    expect_error(
        edgetl("run", tiny_bundle, photo, "--engine", "onxruntime"),
        "There is no engine 'onxruntime'.",
        "did you mean 'onnxruntime'? The choices are: "
        "litert, onnxruntime, openvino, tflite-runtime.",
    )
    expect_error(
        edgetl("run", tiny_bundle, photo, "--artifact", "onnx-int9"),
        f"'{tiny_bundle}' has no artifact 'onnx-int9'.",
        "did you mean 'onnx-int8'? The choices are: onnx-fp32, onnx-int8, openvino-fp32, "
        "openvino-int8, tflite-fp32, tflite-int8.",
    )


def test_run_refuses_threads_it_cannot_have(edgetl, tiny_bundle, photo) -> None:
    expect_error(edgetl("run", tiny_bundle, photo, "--threads", 0), "--threads 0 is out of range.")
    assert edgetl("run", tiny_bundle, photo, "--threads", "two").code == 2


def test_run_refuses_a_damaged_bundle(edgetl, tiny_bundle, photo, tmp_path) -> None:
    content = bytearray(tiny_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "m.edgetl").write_bytes(content)
    answer = edgetl("run", tmp_path / "m.edgetl", photo)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Error: '{tmp_path / 'm.edgetl'}'")


def test_evaluate_prints_exactly_one_json_document(edgetl, tiny_bundle, pictures) -> None:
    answer = edgetl("evaluate", tiny_bundle, pictures, "--json", "--artifact", "onnx-fp32")
    assert answer.code == 0
    report = json.loads(answer.out)
    assert {"top1", "macro_f1", "images", "per_class", "confusion"} <= set(report)
    assert report["images"] == 60
    assert sum(map(sum, report["confusion"])) == 60
    right = sum(report["confusion"][i][i] for i in range(3))
    assert report["top1"] == pytest.approx(right / 60)
    assert [score["label"] for score in report["per_class"]] == sorted(LABELS)
    assert report["subject"].startswith("onnx-fp32 through onnxruntime ")
    assert report["top1_interval"]["low"] <= report["top1"] <= report["top1_interval"]["high"]
    assert (report["top5"], report["roc_auc"], report["positive"]) == (None, None, None)
    manifest = json.loads(edgetl("inspect", tiny_bundle, "--json").out)
    assert report["temperature"] == manifest["temperature"]


def test_evaluate_scores_a_run_through_torch(edgetl, tiny_run, pictures) -> None:
    report = json.loads(edgetl("evaluate", tiny_run, pictures, "--json").out)
    assert report["subject"] == f"{NETWORK} through torch"


def test_evaluate_prints_a_table_for_people(edgetl, tiny_bundle, tmp_path) -> None:
    root = write_class_folders(tmp_path / "data", 2)
    (root / "slope" / "00.png").write_bytes(b"")
    answer = edgetl("evaluate", tiny_bundle, root)
    assert answer.code == 0
    assert ": 5 pictures (1 unreadable ones skipped)" in answer.out.splitlines()[0]
    assert answer.out.splitlines()[1].startswith("top-1 ")
    assert [line.split()[0] for line in answer.out.splitlines() if line] == [
        *(answer.out.split()[0], "top-1", "macro", "ECE"),
        *("class", "checks", "slope", "stripes", "macro", "weighted"),
        *("true", "checks", "slope", "stripes"),
    ]


def test_evaluate_says_every_score_of_two_classes() -> None:
    truth, logits = np.array([0, 0, 1, 1]), np.log(np.array([[9, 1], [1, 3], [1, 3], [1, 9]]))
    report = accuracy_report(
        truth, logits, ("good", "bad"), subject="it", skipped=2, temperature=0.5
    )
    summary, classes, confusion = evaluate_text(report).split("\n\n")
    top1, f1 = report.top1_interval, report.macro_f1_interval
    area = report.roc_auc_interval
    assert area is not None
    # 9/10 right, 3/4 once right and once wrong; at temperature 1/2 these are 81/82 and 9/10.
    assert summary.splitlines() == [
        "it: 4 pictures (2 unreadable ones skipped)",
        f"top-1     75.00%  (95% interval {100 * top1.low:.2f} to {100 * top1.high:.2f})",
        f"macro F1  73.33%  (95% interval {100 * f1.low:.2f} to {100 * f1.high:.2f})"
        "  balanced accuracy 75.00%",
        f"ROC-AUC   87.50%  (95% interval {100 * area.low:.2f} to {100 * area.high:.2f})"
        "  positive: bad",
        "ECE       20.61% at temperature 0.500 (17.50% at 1)  NLL 0.6081 (0.4712 at 1)",
    ]
    assert classes.splitlines() == [
        "class          pictures  precision %  recall %   F1 %",
        "good                  2       100.00     50.00  66.67",
        "bad                   2        66.67    100.00  80.00",
        "macro mean            4        83.33     75.00  73.33",
        "weighted mean         4        83.33     75.00  73.33",
    ]
    assert confusion.splitlines() == [
        "true \\ said  good  bad",
        "good            1    1",
        "bad             0    2",
    ]


def test_evaluate_tells_top_5_from_six_classes_on() -> None:
    report = accuracy_report(np.array([5, 0]), np.eye(6)[[0, 0]], tuple("abcdef"), subject="it")
    assert evaluate_text(report).splitlines()[1].endswith(")  top-5 50.00%")


def test_evaluate_refuses_bad_input(edgetl, tiny_bundle, tiny_run, pictures, tmp_path) -> None:
    expect_error(edgetl("evaluate", tiny_bundle, tmp_path), f"'{tmp_path}' has no classes.")
    (tmp_path / "zebra").mkdir()
    expect_error(
        edgetl("evaluate", tiny_bundle, tmp_path),
        f"'{tmp_path}' has a class the model does not know: 'zebra'.",
        "the model's labels are: checks, slope, stripes.",
    )
    expect_error(
        edgetl("evaluate", tmp_path, pictures),
        f"'{tmp_path}' is not a run: it has no checkpoint.json.",
    )
    expect_error(
        edgetl("evaluate", tiny_run, pictures, "--artifact", "onnx-int8"),
        f"'{tiny_run}' is a run; --artifact, --engine and --against belong to a bundle.",
    )


def test_verify_finds_a_good_bundle_right(edgetl, tiny_bundle) -> None:
    answer = edgetl("verify", tiny_bundle, "--wide")
    assert answer.code == 0
    assert answer.out.splitlines()[0] == f"{tiny_bundle}: 11 members match their sha256"
    assert " wrong " not in answer.out
    assert " crashed " not in answer.out
    reports = json.loads(edgetl("verify", tiny_bundle, "--json").out)
    assert {report["status"] for report in reports} <= {"right", "absent"}


def test_verify_exits_with_3_where_an_answer_is_wrong(edgetl, tiny: Bundle, tmp_path) -> None:
    golden = dict(tiny.golden())
    golden["onnx-int8"] = golden["onnx-int8"] + np.array([[30, 0, 0]], np.float32)
    rewritten(tiny, tmp_path / "m.edgetl", golden)
    answer = edgetl("verify", tmp_path / "m.edgetl", "--json")
    assert answer.code == 3
    wrong = [r["artifact"] for r in json.loads(answer.out) if r["status"] == "wrong"]
    assert wrong == ["onnx-int8"]
    assert answer.err.splitlines()[-2:] == [
        "Error: Parity failed on this machine: onnx-int8 through onnxruntime.",
        "Hint: run another engine or artifact on this machine.",
    ]


def test_verify_refuses_a_damaged_bundle(edgetl, paper_bundle: Path) -> None:
    paper_bundle.write_bytes(paper_bundle.read_bytes()[:-1])
    answer = edgetl("verify", paper_bundle)
    assert (answer.code, answer.out) == (1, "")


def test_verify_finds_a_network_that_is_none_crashed(edgetl, paper_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    answer = edgetl("verify", paper_bundle, "--json")
    assert answer.code == 3
    assert [report["status"] for report in json.loads(answer.out)] == ["crashed"]


def test_inspect_shows_what_a_bundle_holds_without_any_engine(edgetl, paper_bundle: Path) -> None:
    answer = edgetl("inspect", paper_bundle)
    assert answer.code == 0
    assert "labels      2: cat, dog\n" in answer.out
    assert "softmax     of logits / 1, the temperature\n" in answer.out
    assert "onnx-fp32" in answer.out
    manifest = json.loads(edgetl("inspect", paper_bundle, "--json").out)
    assert manifest["labels"] == ["cat", "dog"]
    assert manifest["schema_version"] == 1


def test_bench_writes_exactly_one_json_document_to_standard_output(
    edgetl, tiny_bundle, pictures
) -> None:
    answer = edgetl(
        "bench", tiny_bundle, pictures / "checks", "--artifact", "onnx-int8", "--engine",
        "onnxruntime", "--threads", 1, "--json", "-",
    )  # fmt: skip
    assert answer.code == 0
    report = json.loads(answer.out)
    assert report["pictures"] == 20
    assert report["host"]["cores"] >= 1
    (row,) = report["rows"]
    for stage in ("inference", "decode", "preprocess", "end_to_end"):
        assert row[stage]["calls"] >= 200
        assert {"mean_ms", "p50_ms", "p90_ms", "p99_ms"} <= set(row[stage])
    assert row["cold_start_ms"] > 0
    assert row["peak_memory_bytes"] > 0
    assert row["bytes"] > 0


def test_bench_writes_its_report_beside_the_table(edgetl, tiny_bundle, tmp_path) -> None:
    answer = edgetl(
        "bench", tiny_bundle, "--engine", "auto", "--threads", 1, "--wide",
        "--json", tmp_path / "b.json",
    )  # fmt: skip
    assert answer.code == 0
    assert "cold start ms" in answer.out
    (row,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert row["decode"] is None


def test_bench_refuses_bad_input(edgetl, tiny_bundle, tmp_path) -> None:
    expect_error(
        edgetl("bench", tiny_bundle, tmp_path / "none"), f"'{tmp_path / 'none'}' does not exist."
    )
    expect_error(edgetl("bench", tiny_bundle, "--engine", "tflit"), "There is no engine 'tflit'.")
    expect_error(
        edgetl("bench", tiny_bundle, "--artifact", "onnx"),
        f"'{tiny_bundle}' has no artifact 'onnx'.",
    )
    assert edgetl("bench", tiny_bundle, "--calls", 199).code == 2


def test_bench_leaves_nothing_where_it_cannot_write(edgetl, tiny_bundle, tmp_path) -> None:
    (tmp_path / "file").touch()
    answer = edgetl(
        "bench", tiny_bundle, "--engine", "auto", "--threads", 1,
        "--json", tmp_path / "file" / "b.json",
    )  # fmt: skip
    assert answer.code == 1
    expected = f"Error: '{tmp_path / 'file' / 'b.json'}' cannot be written: Not a directory."
    assert expected in answer.err.splitlines()
    assert inside(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", ["recipes", "devices"])
def test_shipped_files_are_listed_and_shown(edgetl, kind: str) -> None:
    listed = edgetl(kind, "list", "--wide")
    assert listed.code == 0
    names = [line.split()[0] for line in listed.out.splitlines()[1:]]
    assert names == shipped_names(kind)
    for name in names:
        assert edgetl(kind, "show", name).code == 0
    expect_error(
        edgetl(kind, "show", names[0] + "x"),
        f"There is no {kind[:-1]} '{names[0]}x'.",
        f"did you mean '{names[0]}'? The choices are: {', '.join(names)}.",
    )
