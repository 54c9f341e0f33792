"""What only a CUDA GPU can show: `make test-gpu`."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.core.shipped import shipped_names  # noqa: E402
from edgetl.workstation.backbones.build import build_network  # noqa: E402
from edgetl.workstation.backbones.catalogue import find_backbone  # noqa: E402
from edgetl.workstation.backbones.checkpoint import load_checkpoint  # noqa: E402
from edgetl.workstation.recipe import load_recipe, override  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.finetune import finetune  # noqa: E402
from edgetl.workstation.training.resample import crop_and_resize  # noqa: E402
from edgetl.workstation.training.trainer import Trainer  # noqa: E402
from tests.making import Remarks  # noqa: E402
from tests.workstation.training.tiny import NOTHING, made, recipe, tiny_network, trainer, weights  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"),
]
MANY = ("finetune.batch=12", "finetune.epochs=4", "finetune.ema=0.9", "augment.flip=both")
RECIPES = shipped_names("recipes")


def on_gpu(*more: str, network=None, progress=None) -> Trainer:
    wanted = recipe(*MANY, *more)
    return trainer(wanted, network, train=made(60), val=made(12), progress=progress, device="cuda")


def losses(it: Trainer) -> list[float]:
    return [end.loss for end in it.epochs(lambda: NOTHING)]


def graphs(it: Trainer) -> int:
    captured = it.machine.captured
    assert captured is not None
    return len(captured._graphs)


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("augment.mixup=0.2", "augment.cutmix=1.0", "augment.erase=0.3"),
        ("finetune.optimizer=sgd",),
        ("finetune.optimizer=rmsprop", "finetune.backbone_rate=1e-4", "finetune.head_rate=1e-4"),
        ("finetune.optimizer=adam", "finetune.schedule=cosine", "finetune.l2sp=0.01"),
        ("finetune.trainable_blocks=1",),
        ("finetune.norms=frozen",),
        ("finetune.trainable_blocks=0", "finetune.unfreeze_every=1"),
        ("augment.rand_augment=9",),
        ("precision=bf16",),
    ],
)
def test_captured_and_eager_steps_train_alike(more: tuple[str, ...]) -> None:
    captured, eager = on_gpu(*more), on_gpu(*more)
    eager.machine.captured.possible = False
    got, expected = losses(captured), losses(eager)
    assert graphs(captured) >= 1
    assert graphs(eager) == 0
    assert got == pytest.approx(expected, rel=2e-2 if "precision=bf16" in more else 2e-3)
    assert got[-1] < got[0]
    for name, tensor in weights(eager.averaged).items():
        torch.testing.assert_close(
            weights(captured.averaged)[name].float(), tensor.float(), rtol=5e-2, atol=5e-3, msg=name
        )


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet", "efficientnet_lite0", "resnet18"])
def test_the_catalogues_networks_are_captured(name: str) -> None:
    network = build_network(find_backbone(name), 3, auxiliary=name == "googlenet")
    wanted = recipe(*MANY, "finetune.epochs=2")
    it = trainer(wanted, network, train=made(60, 64), size_px=64, device="cuda")
    assert all(np.isfinite(losses(it)))
    assert graphs(it) >= 1


def test_each_side_and_each_size_of_batch_has_a_graph_of_its_own() -> None:
    wanted = recipe(*MANY, "finetune.epochs=6", "finetune.first_size_px=32", "finetune.ema=0")
    it = trainer(wanted, train=made(58, 64), size_px=64, device="cuda")  # batches of 12 and 11
    assert all(np.isfinite(losses(it)))
    assert graphs(it) >= 3


def test_the_pictures_lie_on_the_card_or_are_copied_batch_by_batch(monkeypatch) -> None:
    resident = on_gpu()
    expected = losses(resident)
    assert resident.train.fine.resident is not None
    monkeypatch.setattr(Compute, "keep_on_card", lambda self, pictures: False)
    remarks = Remarks()
    copied = on_gpu(progress=remarks)
    assert losses(copied) == pytest.approx(expected, rel=2e-3)
    assert copied.train.fine.resident is None
    assert any("training pictures do not fit on the GPU" in said for said in remarks.said)


def test_a_real_lack_of_memory_splits_batches() -> None:
    network = build_network(find_backbone("vgg16"), 3)
    remarks = Remarks()
    wanted = recipe("finetune.batch=64", "finetune.epochs=1", "augment=none")
    it = trainer(wanted, network, train=made(64, 224), progress=remarks, size_px=224, device="cuda")
    used = torch.cuda.memory_allocated() + (3 << 30)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(used / total)
    try:
        assert all(np.isfinite(losses(it)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any(said.startswith("out of GPU memory") for said in remarks.said)


class Looking(nn.Module):
    """Looks at a number on the host, which no graph can hold."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.blocks, self.fc, self.inner = model.blocks, model.fc, model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer = self.inner(x)
        return answer if float(answer.detach().abs().max()) < 1e9 else answer * 0


def test_a_layer_that_cannot_be_captured_is_said_once_and_runs_all_the_same() -> None:
    network, remarks = tiny_network(), Remarks()
    network = network._replace(model=Looking(network.model))
    it = on_gpu(network=network, progress=remarks)
    got = losses(it)
    assert got[-1] < got[0]
    assert graphs(it) == 0
    said = [said for said in remarks.said if "cannot be captured as a CUDA graph" in said]
    assert len(said) == 1


class Breaking(nn.Module):
    """No numbers once `broken` is set, which a replayed graph reads on the card."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.blocks, self.fc, self.inner = model.blocks, model.fc, model
        self.register_buffer("factor", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.factor


def test_a_loss_that_is_no_number_in_a_replay_names_the_epoch() -> None:
    network = tiny_network()
    network = network._replace(model=Breaking(network.model))
    it = on_gpu("finetune.ema=0", network=network)
    run = it.epochs(lambda: NOTHING)
    next(run), next(run)
    assert graphs(it) >= 1
    network.model.factor.fill_(float("nan"))
    with pytest.raises(EdgetlError, match=r"stopped being a number in epoch 3, step 1\.$"):
        next(run)


def quick(name: str, *more: str):
    return override(
        load_recipe(name),
        ["weights=none", "image_size_px=64", "finetune.epochs=2", "probe.steps=5",
         "finetune.batch=8", *more],
    )  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_runs(name: str, pictures: Path, tmp_path: Path) -> None:
    outcome = finetune(pictures, tmp_path / "run", quick(name), device="cuda")
    assert outcome.checkpoint.finished
    assert outcome.pace and "cuda:0" in outcome.pace


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "googlenet"])
def test_an_interrupted_run_goes_on(backbone: str, pictures: Path, tmp_path: Path) -> None:
    wanted = quick("edge-default", f"backbone={backbone}", "precision=fp32")
    finetune(pictures, tmp_path / "whole", wanted, device="cuda")
    with pytest.raises(KeyboardInterrupt):
        finetune(
            pictures, tmp_path / "cut", wanted, device="cuda",
            progress=Remarks("epoch 1:", KeyboardInterrupt()),
        )  # fmt: skip
    finetune(pictures, tmp_path / "cut", wanted, device="cuda", resume=True)
    whole, cut = (load_checkpoint(tmp_path / name)[0] for name in ("whole", "cut"))
    # Kernels that add up in no fixed order, pooling's among them, leave the last bits to chance.
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(
            weights(cut)[name].float(), tensor.float(), rtol=5e-2, atol=5e-3, msg=name
        )


def test_crops_on_a_gpu_are_those_of_a_cpu_to_within_a_grey_level() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 90, 90, 3), np.uint8))
    boxes = torch.tensor([[0.0, 0, 90, 90], [3, 4, 50, 60], [80, 5, -60, 55], [9, 70, 40, -60]])
    expected = crop_and_resize(pixels, boxes, 48)
    got = crop_and_resize(pixels.cuda(), boxes.cuda(), 48).cpu()
    assert (got - expected).abs().max() <= 1
    assert ((got - expected) != 0).float().mean() < 0.05
