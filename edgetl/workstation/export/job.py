"""The inputs of an export: the run, its pictures, the device's constraints, and the cache."""

from pathlib import Path
from typing import NamedTuple

from edgetl.core.progress import Progress
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, SplitFiles, pick_balanced, read_split
from edgetl.evaluation.against import foreign_examples
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.backbones.checkpoint import Checkpoint, load_checkpoint
from edgetl.workstation.export.cache import ExportCache, picture_identity
from edgetl.workstation.export.formats.registry import versions
from edgetl.workstation.export.int8.constraints import QuantizationConstraints
from edgetl.workstation.export.pictures import CALIBRATION_SEED, ExportPictures, choose_pictures

FOREIGN_IMAGES = 1000


class ExportJob(NamedTuple):
    """The inputs of one export.

    Attributes:
        network, facts: the run's network, and the facts stored in its checkpoint.
        split: which picture was in which part of the run.
        pictures: the pictures to measure on, and those for calibration, tuning and trials.
        constraints: what the device's int8 kernels require.
        foreign: pictures that show none of the classes, to measure the rule for unknown ones on: at
            most 1,000 of the folder's, drawn with a fixed seed.
        foreign_name: the name of the folder that they are from.
        cache: results of earlier exports.
        progress: where to show how far it is.
    """

    network: Network
    facts: Checkpoint
    split: SplitFiles
    pictures: ExportPictures
    constraints: QuantizationConstraints
    foreign: list[Example]
    foreign_name: str
    cache: ExportCache
    progress: Progress


def open_job(
    run: Path,
    calibration: Path | None,
    constraints: QuantizationConstraints,
    progress: Progress,
    *,
    foreign: Path | None = None,
) -> ExportJob:
    """Load a run and choose its pictures. Raises EdgetlError if either fails."""
    theirs = foreign_examples(foreign) if foreign else []
    network, facts = load_checkpoint(run)
    split = read_split(run / SPLITS_FILE)
    pictures = choose_pictures(split, calibration, refitted=facts.twin is not None)
    parts = pictures.parts()
    depends_on = (
        facts,
        constraints,
        versions(),
        (pictures.held_out.part, pictures.trial_part),
        [len(part) for part in parts],
        [picture_identity(example) for part in parts for example in part],
    )
    cache = ExportCache(depends_on, progress)
    name = foreign.resolve().name if foreign else ""
    chosen = pick_balanced(theirs, FOREIGN_IMAGES, CALIBRATION_SEED)
    return ExportJob(network, facts, split, pictures, constraints, chosen, name, cache, progress)
