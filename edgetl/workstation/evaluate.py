"""Score a run folder on labelled pictures, in torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.bundle.reports import AccuracyReport
from edgetl.core.progress import Progress
from edgetl.data.dataset import read_for_scoring
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, FilesByLabel, read_split
from edgetl.evaluation.evaluate import Scorable, score
from edgetl.workstation.libraries import require_training

if TYPE_CHECKING:
    from edgetl.workstation.backbones.checkpoint import Checkpoint


def evaluate_run(
    run: Path, data: Path, progress: Progress, *, corruptions: bool = False
) -> AccuracyReport:
    """Score a run's network; reports how many of the pictures it was trained on.

    The arguments are those of `edgetl.evaluate`. Raises EdgetlError.
    """
    require_training()
    from edgetl.workstation.backbones.checkpoint import load_checkpoint
    from edgetl.workstation.torch_model import torch_model

    network, facts = load_checkpoint(run)
    examples = read_for_scoring(data, facts.labels)
    _warn_of_known_pictures(run, facts, examples, progress)
    scorable = Scorable(
        torch_model(network, facts.preprocess),
        facts.preprocess,
        facts.labels,
        f"{facts.backbone} through torch",
        facts.temperature,
    )
    return score(scorable, examples, progress, corruptions=corruptions)


def _warn_of_known_pictures(
    run: Path, facts: "Checkpoint", examples: Sequence[Example], progress: Progress
) -> None:
    """Report pictures that were trained on, or that the temperature was fitted to."""
    if not (run / SPLITS_FILE).is_file():
        return
    split = read_split(run / SPLITS_FILE)
    paths = [example.path.resolve() for example in examples]

    def count(part: FilesByLabel) -> int:
        known = {Path(split.root, name) for names in part.values() for name in names}
        return sum(path in known for path in paths)

    if trained := count(split.train):
        progress.say(f"note: {trained} of these {len(paths)} pictures were trained on")
    crossed = facts.temperature_from == "test, cross-fitted"
    if crossed and (fitted := count(split.test)):
        progress.say(
            f"note: the temperature was fitted to {fitted} of these {len(paths)} pictures; the "
            "calibration error is smaller than on others"
        )
