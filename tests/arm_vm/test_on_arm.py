"""What a bundle answers on emulated ARM boards. The golden samples are of this very machine."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgetl.arm_vm.host.boards import BOARDS, Board
from edgetl.arm_vm.host.verify import verify_on
from edgetl.arm_vm.messages import BoardResult, EmulatedReport
from edgetl.bundle.archive import Bundle
from edgetl.core.schema import from_json
from tests.conftest import Command
from tests.tiny import make_tiny_bundle, make_tiny_run

BASELINE = Path(__file__).with_name("instructions.json")
WITHIN = 0.02
SHORT = "raspberry-pi-zero-2w"
PROCESSORS = (SHORT, "raspberry-pi-4", "raspberry-pi-5")
INT8 = (("onnx-int8", "onnxruntime"), ("tflite-int8", "litert"))
FP32 = (("onnx-fp32", "onnxruntime"), ("tflite-fp32", "litert"))

Asked = Callable[[str], dict[tuple[str, str], BoardResult]]


def verdicts(report: EmulatedReport) -> dict[tuple[str, str], BoardResult]:
    return {(row.verdict.artifact, row.verdict.engine): row.verdict for row in report.rows}


@pytest.fixture(scope="session")
def mobilenet(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """MobileNetV2 at 32 px in every format: the network that the baseline was counted with.

    Its int8 is the same to the bit on every processor; a sigmoid's, e.g. EfficientNet's, is not in
    TFLite.
    """
    root = tmp_path_factory.mktemp("mobilenet")
    make_tiny_run(pictures, root / "run", backbone="mobilenet_v2")
    make_tiny_bundle(root / "run", root / "m.edgetl")
    return Bundle(root / "m.edgetl")


@pytest.fixture(scope="session")
def asked(machine: Path, mobilenet: Bundle) -> Asked:
    """Every verdict of the bundle on a board, asked once."""

    @functools.cache
    def ask(board: str) -> dict[tuple[str, str], BoardResult]:
        return verdicts(verify_on(mobilenet, BOARDS[board]))

    return ask


@pytest.fixture(scope="session")
def asked_short(machine: Path, mobilenet: Bundle) -> dict[tuple[str, str], BoardResult]:
    """The int8 artifacts through one engine pair on the smallest board."""
    artifacts, engines = zip(*INT8, strict=True)
    return verdicts(verify_on(mobilenet, BOARDS[SHORT], artifacts=artifacts, engines=engines))


def counts(verdict: BoardResult) -> dict[str, int]:
    assert verdict.instructions is not None
    assert verdict.stage_pictures == "made"
    return {
        "decode": verdict.instructions.decode,
        "resize": verdict.instructions.resize,
        "inference": verdict.instructions.inference,
    }


def hold_against_baseline(board: str, measured: dict[tuple[str, str], BoardResult]) -> None:
    """EDGETL_WRITE_INSTRUCTIONS=1 writes what is measured instead: look at the difference."""
    ours = {
        f"{a} through {e}": counts(measured[a, e]) for a, e in (*INT8, *FP32) if (a, e) in measured
    }
    assert ours, f"nothing was measured on {board}"
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if os.environ.get("EDGETL_WRITE_INSTRUCTIONS"):
        baseline[board] = baseline.get(board, {}) | ours
        BASELINE.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")
    for name, stages in ours.items():
        assert stages == pytest.approx(baseline[board][name], rel=WITHIN), f"{name} on {board}"


@pytest.mark.arm64
@pytest.mark.arm64_short
@pytest.mark.parametrize("pair", INT8)
def test_int8_is_right_to_the_bit_on_the_smallest_board(
    asked_short: dict[tuple[str, str], BoardResult], pair: tuple[str, str]
) -> None:
    verdict = asked_short[pair]
    assert (verdict.status, verdict.detail) == ("right", "")
    assert verdict.max_logit_difference == 0


@pytest.mark.arm64
@pytest.mark.arm64_short
def test_a_picture_costs_as_many_instructions_as_before(
    asked_short: dict[tuple[str, str], BoardResult],
) -> None:
    hold_against_baseline(SHORT, asked_short)


@pytest.mark.arm64
@pytest.mark.parametrize("board", PROCESSORS)
@pytest.mark.parametrize("pair", INT8)
def test_int8_is_bit_equal_on_every_processor(
    asked: Asked, board: str, pair: tuple[str, str]
) -> None:
    verdict = asked(board)[pair]
    assert (verdict.status, verdict.max_logit_difference) == ("right", 0), verdict.detail


@pytest.mark.arm64
@pytest.mark.parametrize("board", PROCESSORS)
@pytest.mark.parametrize("pair", [*FP32, ("openvino-fp32", "openvino")])
def test_float_answers_alike_on_every_processor(
    asked: Asked, board: str, pair: tuple[str, str]
) -> None:
    verdict = asked(board)[pair]
    assert verdict.status == "right", verdict.detail
    assert verdict.max_logit_difference is not None
    assert verdict.max_logit_difference <= 1e-4
    assert verdict.same_label == verdict.samples > 0


@pytest.mark.arm64
@pytest.mark.parametrize("board", PROCESSORS)
def test_every_stage_costs_as_many_instructions_as_before(asked: Asked, board: str) -> None:
    hold_against_baseline(board, asked(board))


@pytest.mark.arm64
def test_every_engine_lives_in_512_mb(asked: Asked) -> None:
    assert BOARDS[SHORT].memory_mb == 512
    asked_there = {pair: v for pair, v in asked(SHORT).items() if not v.refused}
    assert {engine for _, engine in asked_there} >= {"onnxruntime", "litert", "openvino"}
    assert {verdict.status for verdict in asked_there.values()} == {"right"}
    peaks = [verdict.peak_memory_bytes or 0 for verdict in asked_there.values()]
    assert all(20e6 < peak < 300e6 for peak in peaks)


@pytest.mark.arm64
@pytest.mark.parametrize("board", PROCESSORS)
def test_openvinos_int8_is_asked_there_but_never_counted_on(asked: Asked, board: str) -> None:
    verdict = asked(board)["openvino-int8", "openvino"]
    assert verdict.refused
    assert verdict.max_logit_difference != 0


@pytest.mark.arm64
def test_an_engine_that_runs_out_of_memory_does_not_end_the_others(
    machine: Path, tiny: Bundle
) -> None:
    board = Board("of-128-mb", "cortex-a53", 128)
    artifacts = ("openvino-fp32", "tflite-int8")
    found = verdicts(verify_on(tiny, board, artifacts=artifacts, engines=("openvino", "litert")))
    killed = found["openvino-fp32", "openvino"]
    assert (killed.status, killed.detail) == ("crashed", "killed: the board's memory is used up")
    assert found["tflite-int8", "litert"].status == "right"


@pytest.mark.arm64
def test_pictures_get_the_same_labels_there_and_here(
    machine: Path, tiny_bundle: Path, tmp_path: Path, pictures: Path, edgetl: Command
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for kind in ("checks", "slope", "stripes"):
        (few / f"{kind} of, 1.png").write_bytes((pictures / kind / "00.png").read_bytes())
    (few / "broken.jpg").write_bytes(b"no picture")
    place = "emulated:raspberry-pi-3b-plus"
    answer = edgetl("verify", tiny_bundle, "--on", place, "--pictures", few, "--json")
    assert answer.code == 0, answer.err
    report = from_json(answer.out, EmulatedReport, where="the answer")
    for row in report.rows:
        if not row.verdict.refused:
            assert row.verdict.stage_pictures == "given"
            assert row.pictures is not None
            assert (row.pictures.same_label, row.pictures.images) == (3, 3)
