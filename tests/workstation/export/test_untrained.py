"""Whether a network can be exported is said before it is trained."""

from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

from edgetl.core.errors import EdgetlError, WeightsError
from edgetl.core.progress import Silent
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.export.untrained import require_exportable
from edgetl.workstation.recipe import Recipe, load_recipe, override
from tests.conftest import Command
from tests.making import Remarks

NAME = "timm:test_resnet"


@pytest.fixture
def recipe() -> Recipe:
    return override(load_recipe("edge-default"), [f"backbone={NAME}", "image_size_px=32"])


def break_format(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator\nat line 7")

    monkeypatch.setitem(FORMATS._own, name, FORMATS[name]._replace(write_int8=fail))


def test_a_format_that_fails_is_named_each_time_but_tried_once(
    recipe: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"{NAME} cannot be exported as tflite: no such operator"]
    with monkeypatch.context() as broken:
        break_format(broken, "tflite")
        first = Remarks()
        require_exportable(recipe, first)
        assert [line for line in first.said if "exported" in line] == said
    second = Remarks()
    require_exportable(recipe, second)
    assert [line for line in second.said if "exported" in line] == said


def test_without_any_format_nothing_is_trained(
    edgetl: Command, pictures: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FORMATS:
        break_format(monkeypatch, name)
    answer = edgetl("finetune", pictures, "-o", tmp_path / "run", "--backbone", NAME,
                    "--weights", "none", "--image-size", 32)  # fmt: skip
    assert answer.code == 1
    assert f"Error: '{NAME}' cannot be exported as onnx: no such operator" in answer.err
    assert not (tmp_path / "run").exists()


def test_a_network_that_does_not_exist_is_named(recipe: Recipe, cache: Path) -> None:
    unknown = override(recipe, ["backbone=timm:resnet9999"])
    with pytest.raises(WeightsError, match="has no network 'resnet9999'"):
        require_exportable(unknown, Silent())


@pytest.mark.parametrize("error", [EdgetlError("no number"), RuntimeError("no such shape")])
def test_a_network_whose_ranges_cannot_be_found_is_refused(
    recipe: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("edgetl.workstation.export.untrained.plan_by_ranges", fail)
    for _ in range(2):
        with pytest.raises(EdgetlError, match=f"'{NAME}' cannot be exported in int8: {error}"):
            require_exportable(recipe, Silent())
