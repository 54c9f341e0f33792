"""Import a network trained elsewhere as a run folder, to export, run and time it."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, write_text
from edgetl.core.progress import Progress, Silent
from edgetl.core.schema import convert, to_json, to_yaml
from edgetl.data.dataset import base_folder, read_for_scoring
from edgetl.data.labels import read_labels
from edgetl.data.split import SPLITS_FILE, Parts, describe
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.libraries import require_training
from edgetl.workstation.recipe import RECIPE_FILE, FineTune, Probe, Recipe
from edgetl.workstation.run_folder import require_state, run_state

if TYPE_CHECKING:
    from edgetl.workstation.backbones.checkpoint import Checkpoint
    from edgetl.workstation.backbones.imported import ImportedNetwork

IMAGENET = "imagenet:"


def import_checkpoint(
    checkpoint: str,
    out: Path,
    *,
    backbone: str | None = None,
    labels: Path | None = None,
    test: Path | None = None,
    overrides: dict[str, object] | None = None,
    progress: Progress | None = None,
) -> "Checkpoint":
    """Make a run folder of a network that was trained elsewhere.

    Args:
        checkpoint: a state dict, .safetensors or .pth; or "imagenet:NAME" for a backbone of the
            catalogue with its ImageNet weights.
        out: the run folder; must not hold a run.
        backbone: the name of the state dict's architecture in the catalogue.
        labels: a file with its labels, as `edgetl.data.labels` reads it.
        test: labelled pictures to measure the artifacts on.
        overrides: fields of `Preprocess` that differ from the usual preprocessing.
        progress: where to show how far it is.

    Raises EdgetlError, also if the checkpoint cannot be used.
    """
    progress = progress or Silent()
    require_training()
    from edgetl.workstation.backbones.imported import save_imported

    require_state(out, run_state(out), resume=False)
    adopted = _load(checkpoint, backbone, labels, progress)
    adopted = adopted._replace(preprocess=_replace_fields(adopted.preprocess, overrides or {}))
    adopted.network.backbone.require_size(adopted.preprocess.size_px)
    parts = Parts(adopted.labels, [], [], [])
    if test:
        test = locate(test, progress)
        parts = parts._replace(test=list(read_for_scoring(test, adopted.labels)))
    make_folder(out)
    # Nothing is trained: the recipe only describes the network.
    recipe = Recipe(
        description=f"imported: {checkpoint}",
        backbone=adopted.network.backbone.name,
        weights=Path(checkpoint).name,
        image_size_px=adopted.preprocess.size_px,
        head=adopted.head,
        probe=Probe(enabled=False),
        finetune=FineTune(epochs=0),
    )
    write_text(out / RECIPE_FILE, to_yaml(recipe))
    write_text(out / SPLITS_FILE, to_json(describe(parts, base_folder(test) if test else out, [])))
    return save_imported(adopted, out)


def _load(
    checkpoint: str, backbone: str | None, labels: Path | None, progress: Progress
) -> "ImportedNetwork":
    from edgetl.workstation.backbones.imported import import_file, import_imagenet

    if checkpoint.startswith(IMAGENET):
        if backbone or labels:
            raise EdgetlError(
                f"'{checkpoint}' says what network it is and has labels of its own.",
                hint="leave --backbone and --labels away.",
            )
        return import_imagenet(checkpoint.removeprefix(IMAGENET), progress)
    if not backbone or not labels:
        raise EdgetlError(
            f"What '{checkpoint}' is cannot be told from the file alone.",
            hint="give --backbone NAME and --labels FILE, a label a line.",
        )
    return import_file(Path(checkpoint), backbone, read_labels(labels), progress)


def _replace_fields(spec: Preprocess, changes: dict[str, object]) -> Preprocess:
    """The preprocessing with some fields replaced. Raises SchemaError for invalid values."""
    return convert(
        msgspec.to_builtins(spec) | changes, Preprocess, where="how pictures are prepared"
    )
