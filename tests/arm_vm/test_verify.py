from pathlib import Path

import msgspec
import pytest

from edgetl.arm_vm.guest.main import reason
from edgetl.arm_vm.host.machine import MachineError
from edgetl.arm_vm.host.verify import (
    require_parity,
    results_of,
    verdicts_for_the_bundle,
    write_device_half,
)
from edgetl.arm_vm.messages import (
    VERDICT,
    BoardResult,
    BoardRow,
    EmulatedReport,
    Instructions,
    PicturesCompared,
)
from edgetl.cli.verify import emulated_table
from edgetl.core.errors import EngineError, GateMissedError
from tests.conftest import Command

RIGHT = BoardResult(
    artifact="tflite-int8",
    engine="litert",
    version="2.3.0",
    status="right",
    samples=8,
    same_label=8,
    max_difference=0.0,
    max_logit_difference=0.0,
    peak_memory_bytes=58_300_000,
    instructions=Instructions(decode=19_000_000, resize=700_000, inference=2_900_000),
)
CRASHED = BoardResult(
    artifact="onnx-int8", engine="onnxruntime", status="crashed", detail="ended by SIGILL: x"
)
REFUSED = BoardResult(
    artifact="openvino-int8", engine="openvino", status="wrong", refused=True, samples=8
)
ABSENT = BoardResult(artifact="tflite-int8", engine="tflite-runtime", status="absent")


def report(*verdicts: BoardResult, pictures: PicturesCompared | None = None) -> EmulatedReport:
    return EmulatedReport(
        bundle="model.edgetl",
        board="raspberry-pi-4",
        processor="cortex-a72",
        memory_mb=1024,
        machine="machine-0123456789abcdef",
        rows=tuple(BoardRow(verdict=verdict, pictures=pictures) for verdict in verdicts),
    )


def line(verdict: BoardResult) -> str:
    return VERDICT + msgspec.json.encode(verdict).decode()


def test_verdicts_are_found_among_what_a_machine_prints() -> None:
    said = ["[    0.1] kernel", "", line(RIGHT), "@working", line(CRASHED)]
    assert list(results_of(said)) == [RIGHT, CRASHED]


@pytest.mark.parametrize("text", ['{"artifact": "x"', '{"artifact": "x", "engine": "none"}', "[1]"])
def test_a_garbled_verdict_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="result cannot be read"):
        list(results_of([VERDICT + text]))


@pytest.mark.parametrize("status", ["wrong", "crashed"])
def test_an_engine_that_fails_misses_the_gate(status: str) -> None:
    failed = msgspec.structs.replace(RIGHT, status=status)
    with pytest.raises(GateMissedError) as caught:
        require_parity(report(RIGHT, failed))
    assert str(caught.value) == (
        f"Parity failed on raspberry-pi-4: tflite-int8 through litert ({status})."
    )


def test_an_engine_the_board_is_not_advised_misses_no_gate() -> None:
    elsewhere = msgspec.structs.replace(RIGHT, engine="tflite-runtime", status="wrong")
    require_parity(report(RIGHT, elsewhere))


def test_the_bundle_keeps_what_an_engine_said_and_not_what_is_absent() -> None:
    failed = msgspec.structs.replace(RIGHT, status="crashed")
    kept = verdicts_for_the_bundle(report(failed, ABSENT))
    assert [(v.board, v.emulated, v.engine, v.status) for v in kept] == [
        ("raspberry-pi-4", True, "litert", "crashed")
    ]


def test_what_edgetl_refuses_to_run_there_misses_no_gate() -> None:
    require_parity(report(RIGHT, REFUSED, ABSENT))


def test_no_engine_at_all_is_an_error() -> None:
    with pytest.raises(
        EngineError,
        match="No artifact of this bundle could be run with an engine of raspberry-pi-4",
    ):
        require_parity(report(ABSENT))


def test_the_table_has_a_line_for_each_verdict_and_no_time(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    compared = PicturesCompared(engine="litert 2.3.0", images=12, same_label=11)
    lines = emulated_table(report(RIGHT, REFUSED, pictures=compared)).splitlines()
    assert lines[0] == ("model.edgetl on an emulated raspberry-pi-4: cortex-a72, one core, 1024 MB")
    assert lines[1].split() == [
        "artifact", "engine", "status", "labels", "logits", "differ", "peak", "MB",
        "decode", "resize", "inference", "pictures", "detail",
    ]  # fmt: skip
    assert lines[2].split() == [
        "tflite-int8", "litert", "2.3.0", "right", "8/8", "bit-equal", "58",
        "19.0", "0.7", "2.9", "11/12",
    ]  # fmt: skip
    assert "wrong, not run" in lines[3]
    assert lines[-1] == "not run: edgetl refuses this engine for this artifact on ARM."
    assert " ms" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [
        (-4, "Fatal Python error: Illegal instruction\n\nThread 0x1:\n  File x\n",
         "ended by SIGILL: Fatal Python error: Illegal instruction"),
        (1, "Traceback (most recent call last):\n  File x\nValueError: no\n",
         "failed: ValueError: no"),
        (-9, "", "ended by SIGKILL: it printed no error"),
    ],
)  # fmt: skip
def test_a_process_that_dies_says_why(code: int, stderr: str, expected: str) -> None:
    assert reason(code, stderr) == expected


def test_the_machine_is_given_the_device_half_and_nothing_of_the_workstation(
    tmp_path: Path,
) -> None:
    write_device_half(tmp_path)
    rooms = {path.name for path in (tmp_path / "edgetl").iterdir() if path.is_dir()}
    assert {"core", "runtime", "evaluation", "arm_vm"} <= rooms
    assert not rooms & {"workstation", "cli"}
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_board_misspelt_gets_the_nearest_name(edgetl: Command, paper_bundle: Path) -> None:
    answer = edgetl("verify", paper_bundle, "--on", "emulated:raspberry-pi-four")
    assert answer.code == 1
    assert "A bundle cannot be verified on 'emulated:raspberry-pi-four'." in answer.err
    assert "did you mean 'emulated:raspberry-pi-" in answer.err


def test_pictures_need_a_board(edgetl: Command, paper_bundle: Path, pictures: Path) -> None:
    answer = edgetl("verify", paper_bundle, "--pictures", pictures)
    assert answer.code == 2
    assert "--pictures and --record are for --on emulated:BOARD" in answer.err


def test_a_folder_without_pictures_is_an_error_before_anything_is_built(
    edgetl: Command, paper_bundle: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "none").mkdir()
    place = "emulated:raspberry-pi-4"
    answer = edgetl("verify", paper_bundle, "--on", place, "--pictures", tmp_path / "none")
    assert answer.code == 1
    assert "holds no pictures" in answer.err
    assert not cache.exists()
