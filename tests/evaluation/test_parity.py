import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.core.errors import BundleError
from edgetl.evaluation.parity import verify
from edgetl.runtime.engines.registry import ENGINES, installed


def rewritten(bundle: Bundle, path: Path, golden: dict[str, np.ndarray]) -> Bundle:
    """The bundle with other golden samples, its hashes in order."""
    buffer = io.BytesIO()
    np.savez(buffer, **golden)
    contents = bundle.contents() | {"golden.npz": buffer.getvalue()}
    manifest = msgspec.structs.replace(
        bundle.manifest, golden=member_of("golden.npz", contents["golden.npz"])
    )
    write_bundle(path, manifest, contents)
    return Bundle(path)


def test_every_artifact_is_asked_through_every_engine_of_its_format(tiny: Bundle) -> None:
    reports = verify(tiny)
    assert {(r.artifact, r.engine) for r in reports} == {
        (artifact.name, engine)
        for artifact in tiny.manifest.artifacts
        for engine, info in ENGINES.items()
        if info.format == artifact.format
    }
    for report in reports:
        assert report.status == ("right" if installed(report.engine) else "absent"), report
        assert report.samples == 8


def test_where_bundle_and_engines_are_of_one_machine_the_answers_are_the_same(tiny: Bundle) -> None:
    right = [report for report in verify(tiny) if report.status == "right"]
    assert right
    assert [report.same_label for report in right] == [8] * len(right)


def test_an_engine_that_is_absent_says_how_to_install_it(tiny: Bundle) -> None:
    for report in verify(tiny):
        if report.status == "absent":
            assert report.detail == ENGINES[report.engine].install_hint


def test_one_expected_answer_altered_is_wrong_and_only_for_its_artifact(
    tiny: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    golden = dict(tiny.golden())
    golden["onnx-int8"] = golden["onnx-int8"].copy()
    golden["onnx-int8"][3, golden["onnx-int8"][3].argmin()] += 30
    reports = verify(rewritten(tiny, tmp_path / "m.edgetl", golden))
    wrong = [report for report in reports if report.status == "wrong"]
    assert [(r.artifact, r.engine) for r in wrong] == [("onnx-int8", "onnxruntime")]
    assert wrong[0].same_label == 7
    assert wrong[0].max_difference > 0.5
    assert wrong[0].detail.endswith("; at most 0.1")


def test_an_expected_answer_that_is_no_number_is_wrong(tiny: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    golden = dict(tiny.golden())
    golden["onnx-fp32"] = np.full_like(golden["onnx-fp32"], np.nan)
    reports = verify(rewritten(tiny, tmp_path / "m.edgetl", golden))
    assert {r.status for r in reports if r.artifact == "onnx-fp32"} == {"wrong"}


def _drop(golden: dict[str, np.ndarray]) -> None:
    del golden["onnx-fp32"]


def _shape(golden: dict[str, np.ndarray]) -> None:
    golden["onnx-fp32"] = golden["onnx-fp32"][:, :2]


def _kind(golden: dict[str, np.ndarray]) -> None:
    golden["inputs"] = golden["inputs"].astype(np.float32)


def _size(golden: dict[str, np.ndarray]) -> None:
    golden["inputs"] = golden["inputs"][:, ::2, ::2]


def _none(golden: dict[str, np.ndarray]) -> None:
    golden["inputs"], golden["onnx-fp32"] = golden["inputs"][:0], golden["onnx-fp32"][:0]


@pytest.mark.parametrize("damage", [_drop, _shape, _kind, _size, _none])
def test_samples_that_do_not_fit_are_a_bundle_error(tiny: Bundle, tmp_path: Path, damage) -> None:
    golden = dict(tiny.golden())
    damage(golden)
    with pytest.raises(BundleError, match="the golden samples do not fit artifact 'onnx-fp32'"):
        verify(rewritten(tiny, tmp_path / "m.edgetl", golden))
