"""A network trained elsewhere -> run folder, to be exported, run and timed like one made here."""

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
    asked: dict[str, object] | None = None,
    progress: Progress | None = None,
) -> "Checkpoint":
    """Make a run folder of a network that was trained elsewhere.

    Args:
        checkpoint: a state dict, .safetensors or .pth; or "imagenet:NAME" of the catalogue.
        out: the run folder; must not hold a run.
        backbone: the catalogue's name of a state dict's architecture.
        labels: its labels, a file as `edgetl.data.labels` reads them.
        test: labelled pictures that the artifacts will be measured on.
        asked: fields of `Preprocess` in which the pictures it takes are other than usual.

    Raises EdgetlError.
    """
    progress = progress or Silent()
    require_training()
    from edgetl.workstation.backbones.imported import save_imported

    require_state(out, run_state(out), resume=False)
    adopted = _load(checkpoint, backbone, labels, progress)
    adopted = adopted._replace(preprocess=_with(adopted.preprocess, asked or {}))
    adopted.network.backbone.require_size(adopted.preprocess.size_px)
    parts = Parts(adopted.labels, [], [], [])
    if test:
        test = locate(test, progress)
        parts = parts._replace(test=list(read_for_scoring(test, adopted.labels)))
    make_folder(out)
    # Nothing is learnt: the recipe only says what the network is.
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


def _with(spec: Preprocess, asked: dict[str, object]) -> Preprocess:
    """Checked like a file's: an impossible size or a negative deviation is told."""
    return convert(msgspec.to_builtins(spec) | asked, Preprocess, where="how pictures are prepared")
