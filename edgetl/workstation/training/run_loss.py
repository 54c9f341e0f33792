"""Which loss a run lowers: by labels alone, under a teacher, or adapted to another domain."""

from edgetl.workstation.training.adaptation.adaptation import Adaptation
from edgetl.workstation.training.batch_loss import BatchLoss
from edgetl.workstation.training.loss import Objective
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.teaching.distillation import Distillation


def run_loss(setup: TrainingSetup) -> BatchLoss:
    """The loss of a run."""
    network, recipe, compute = setup.network, setup.recipe, setup.compute
    objective = Objective(setup.train.labels, network.classes(), recipe.finetune, compute.device)
    if setup.taught:
        return Distillation(
            setup.taught.teacher, network, objective, recipe.distil, compute, recipe.seed
        )
    if setup.adapting:
        return Adaptation(network, objective, recipe.adapt, compute, recipe.seed)
    return BatchLoss(objective, compute)
