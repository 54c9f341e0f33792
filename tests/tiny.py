"""The small run and bundle that most tests use. `python -m tests.tiny BUNDLE` makes them anew."""

import sys
import tempfile
from pathlib import Path

from tests.making import write_class_folders

# EfficientNet's layers, a tenth of MobileNetV2's weights, and a third of its time.
NETWORK = "timm:test_efficientnet"
# Enough gradient steps that batch statistics settle and the classes come apart.
TINY = (
    f"backbone={NETWORK}",
    "weights=none",
    "split.val=0.1",
    "image_size_px=32",
    "precision=fp32",
    "finetune.batch=8",
    "finetune.epochs=12",
    "finetune.backbone_rate=5e-3",
    "finetune.head_rate=5e-3",
    "finetune.train_size=1",
    "finetune.first_size_px=null",
    "finetune.ema=0",
    "finetune.warmup=0.2",
    "augment.min_area=1",
    "augment.stretch=1.25",
)
# The same for heatmaps: large enough for a feature map of more than one place.
TINY_WITH_HEATMAP = (*TINY, "image_size_px=48", "finetune.epochs=5")


def make_pictures(out: Path) -> Path:
    """Three class folders of twenty pictures each."""
    return write_class_folders(out, 20)


def make_tiny_run(pictures: Path, out: Path, backbone: str = NETWORK) -> None:
    """A network at 32 px, trained from scratch in seconds."""
    from edgetl.workstation.recipe import load_recipe, override
    from edgetl.workstation.training.finetune import finetune

    settings = [*TINY, f"backbone={backbone}"]
    finetune(pictures, out, override(load_recipe("edge-default"), settings))


def make_tiny_bundle(run: Path, out: Path) -> None:
    """Every registered format in fp32 and int8."""
    from edgetl.workstation.export.export import export
    from edgetl.workstation.export.formats.registry import FORMATS

    export(run, out, formats=list(FORMATS), max_drop_pp=100.0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        pictures, run = make_pictures(Path(folder) / "pictures"), Path(folder) / "run"
        make_tiny_run(pictures, run)
        make_tiny_bundle(run, Path(sys.argv[1]))
