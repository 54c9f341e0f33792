"""What an export begins with."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgetl.core.progress import Progress
from edgetl.data.split import SPLITS_FILE, SplitFiles, read_split
from edgetl.pipeline.choosing import Chosen, choose_pictures

if TYPE_CHECKING:
    from edgetl.backbones.build import Network
    from edgetl.backbones.checkpoint import Checkpoint


class Job(NamedTuple):
    """A run, and its pictures by what they are for."""

    network: "Network"
    facts: "Checkpoint"
    split: SplitFiles
    chosen: Chosen
    progress: Progress


def open_job(run: Path, calibration: Path | None, progress: Progress) -> Job:
    """Load the run and choose the pictures. Raises EdgetlError."""
    from edgetl.backbones.checkpoint import load_checkpoint

    network, facts = load_checkpoint(run)
    split = read_split(run / SPLITS_FILE)
    chosen = choose_pictures(split, calibration, refitted=facts.twin is not None)
    return Job(network, facts, split, chosen, progress)
