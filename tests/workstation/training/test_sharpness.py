"""Training pictures must be as sharp as those the device will see."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torchvision")

from edgetl.bundle.preprocessing import Preprocess
from edgetl.data.folders import read_class_folders
from edgetl.data.reading import read_pixels
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.finetune import finetune
from tests.workstation.training.grain import write_grainy_parts

_SIDE_PX = 64


@pytest.fixture(scope="module")
def grainy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of twice the network's side."""
    return write_grainy_parts(tmp_path_factory.mktemp("grainy") / "data", 2 * _SIDE_PX)


def _grain_seen(part: Path) -> list[tuple[float, int]]:
    """(How strong the grain is in what the device sees, class) of every picture."""
    spec = Preprocess(size_px=_SIDE_PX, mean=(0, 0, 0), std=(1, 1, 1))
    seen = []
    for example, pixels in read_pixels(list(read_class_folders(part).examples), spec):
        assert isinstance(pixels, np.ndarray)
        blocks = pixels[:, :, 0].reshape(_SIDE_PX // 2, 2, _SIDE_PX // 2, 2).astype(float)
        detail = blocks - blocks.mean((1, 3), keepdims=True)
        seen.append((float(detail.std()), example.label))
    return seen


def test_the_device_sees_which_class_it_is(grainy: Path) -> None:
    for part in ("train", "test"):
        ordered = sorted(_grain_seen(grainy / part))
        assert [label for _, label in ordered] == sorted(label for _, label in ordered)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [0, 10])
def test_the_default_recipe_tells_fine_grain_apart(
    grainy: Path, tmp_path: Path, epochs: int
) -> None:
    """Learnt from blurred crops, grain looks stronger on the device than it is."""
    recipe = override(load_recipe("edge-default"), [
        f"image_size_px={_SIDE_PX}", "precision=fp32", "finetune.batch=8",
        f"finetune.epochs={epochs}",
    ])  # fmt: skip
    outcome = finetune(grainy, tmp_path / "run", recipe)
    assert outcome.test is not None
    assert outcome.test.top1 >= 0.9, outcome.test.confusion
