"""What all phases of a training run share."""

from typing import NamedTuple

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import TeacherFacts
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decisions import Decisions
from edgetl.workstation.training.pixel_cache import PixelSet
from edgetl.workstation.training.teaching.teacher import Teacher
from edgetl.workstation.training.training_pixels import TrainingPictures


class Taught(NamedTuple):
    """A teacher, and the pictures that it answers on: those with labels, then those without.

    Attributes:
        facts: what the run folder records about the teacher.
    """

    teacher: Teacher
    facts: TeacherFacts
    pictures: TrainingPictures


class Adapting(NamedTuple):
    """The pictures of another place that a run is adapted to, in gradient steps.

    Attributes:
        target: those pictures, as the device sees them; they have no labels.
        pictures: the training pictures, and `target` behind them.
    """

    target: PixelSet
    pictures: TrainingPictures


class TrainingSetup(NamedTuple):
    """The network, pictures and settings that all phases of a run share.

    The phases run once each, in this order: decode the pictures, prepare the network
    (`preparation.prepare`), train (`trainer.Trainer`), score.

    Attributes:
        network: the network to train; its weights change, nothing else here does.
        train: the training pictures.
        val: the validation pictures; None if there is no such part.
        spec: how pictures are prepared for the network.
        recipe: fully decided, except for the mirror images, which `preparation` decides.
        compute: device and precision.
        progress: where to show how far it is.
        decisions: where to record what is decided that the recipe left open.
        taught: the teacher and what it teaches on; None without a teacher.
        adapting: what the run is adapted to by "coral" or "adversarial"; None: to nothing.
    """

    network: Network
    train: TrainingPictures
    val: PixelSet | None
    spec: Preprocess
    recipe: Recipe
    compute: Compute
    progress: Progress
    decisions: Decisions
    taught: Taught | None = None
    adapting: Adapting | None = None

    @property
    def pictures(self) -> TrainingPictures:
        """What gradient steps take: the training pictures, and behind them those without labels."""
        extra = self.taught or self.adapting
        return extra.pictures if extra else self.train
