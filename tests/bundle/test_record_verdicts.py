import shutil
from pathlib import Path

import msgspec
import pytest

from edgetl.bundle.archive import Bundle, record_verdicts
from edgetl.bundle.manifest import BoardVerdict, Target
from edgetl.core.errors import EngineError
from edgetl.runtime.processor import instruction_set
from edgetl.runtime.selection import Choice, choose, reason_against


def verdict(**changes: object) -> BoardVerdict:
    facts = {"board": "a-board", "emulated": True, "artifact": "tflite-int8", "engine": "litert"}
    return BoardVerdict(**facts | {"version": "2.3.0", "status": "right"} | changes)


def test_verdicts_go_into_the_bundle_and_everything_else_stays(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(tiny_bundle, tmp_path / "m.edgetl"))
    before = Bundle(path)
    contents = before.contents()
    record_verdicts(before, [verdict(), verdict(board="another")])
    after = Bundle(path)
    assert after.contents() == contents
    assert after.manifest.verdicts == (verdict(), verdict(board="another"))
    assert msgspec.structs.replace(after.manifest, verdicts=()) == before.manifest


def test_inspect_shows_them(edgetl, tiny_bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny_bundle, tmp_path / "m.edgetl"))
    assert "emulated" not in edgetl("inspect", path).out
    record_verdicts(Bundle(path), [verdict(status="wrong", peak_memory_bytes=55_000_000)])
    last = edgetl("inspect", path).out.splitlines()[-1]
    assert last.split() == [
        "a-board,", "emulated", "tflite-int8", "litert", "2.3.0", "wrong", "55.0",
    ]  # fmt: skip


def test_a_later_verdict_on_a_board_takes_the_place_of_the_earlier(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(tiny_bundle, tmp_path / "m.edgetl"))
    record_verdicts(Bundle(path), [verdict(), verdict(board="another")])
    record_verdicts(Bundle(path), [verdict(status="wrong")])
    assert Bundle(path).manifest.verdicts == (verdict(board="another"), verdict(status="wrong"))


@pytest.mark.skipif(instruction_set() is None, reason="no profile has this instruction set")
@pytest.mark.parametrize("status", ["wrong", "crashed"])
def test_what_failed_on_the_device_a_bundle_is_for_is_not_run_there(
    tiny: Bundle, status: str
) -> None:
    target = Target(device="a-board", isa=instruction_set(), engines=("litert",), threads=1)
    failed = msgspec.structs.replace(
        tiny.manifest, target=target, verdicts=(verdict(status=status),)
    )
    assert choose(failed).engine == "onnxruntime"
    litert = Choice("litert", tiny.artifact("tflite-int8"))
    assert reason_against(failed, litert)
    assert not reason_against(tiny.manifest, litert)
    with pytest.raises(EngineError) as caught:
        choose(failed, "litert", "tflite-int8")
    assert str(caught.value) == f"Engine 'litert' was {status} with 'tflite-int8' on a-board."
    elsewhere = msgspec.structs.replace(failed, target=msgspec.structs.replace(target, device="b"))
    assert choose(elsewhere).engine == "litert"
