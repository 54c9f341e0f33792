from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint  # noqa: E402
from edgetl.workstation.recipe import Recipe, override  # noqa: E402
from edgetl.workstation.training.finetune import finetune  # noqa: E402
from edgetl.workstation.training.initial_network import make_initial_network  # noqa: E402
from tests.making import Remarks  # noqa: E402

GOOGLENET = (
    "backbone=googlenet", "weights=none", "image_size_px=32", "precision=fp32",
    "finetune.batch=6", "finetune.epochs=2", "probe.enabled=false",
)  # fmt: skip


def test_a_network_with_auxiliary_heads_trains_resumes_and_leaves_them_behind(
    data: Path, tmp_path: Path
) -> None:
    recipe = override(Recipe(), GOOGLENET)
    whole = finetune(data, tmp_path / "whole", recipe)
    with pytest.raises(KeyboardInterrupt):
        finetune(data, tmp_path / "cut", recipe, progress=Remarks("epoch 1:", KeyboardInterrupt()))
    resumed = finetune(data, tmp_path / "cut", recipe, resume=True)
    assert resumed.checkpoint.sha256 == whole.checkpoint.sha256
    tensors = safetensors.torch.load_file(tmp_path / "whole" / "checkpoint.safetensors")
    assert not [name for name in tensors if name.startswith("aux")]
    network, _ = load_checkpoint(tmp_path / "whole")
    assert (network.model.aux1, network.model.aux2) == (None, None)


@pytest.mark.parametrize("smaller", ["finetune.first_size_px=128", "finetune.train_size=0.5"])
def test_heads_that_some_epochs_pictures_are_too_small_for_are_left_away(smaller: str) -> None:
    recipe = override(Recipe(), ["backbone=inception_v3", "weights=none"])
    assert make_initial_network(recipe, 3, Silent()).network.model.AuxLogits is not None
    start = make_initial_network(override(recipe, [smaller]), 3, Silent())
    assert start.network.model.AuxLogits is None
