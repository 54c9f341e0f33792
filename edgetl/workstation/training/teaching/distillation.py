"""The loss of a student: the labels', and how far its answers are from the teacher's.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network". The teacher answers on
the very view that the student sees, after crops, colours and mixing (Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent"), so that its answers fit what is in them.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgetl.workstation.backbones.build import Network, head_input, training_logits
from edgetl.workstation.recipe import Distil
from edgetl.workstation.training.batch_loss import BatchLoss, MixedBatch
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.loss import Objective
from edgetl.workstation.training.teaching.teacher import Teacher


class Distillation(BatchLoss):
    """The loss of a batch under a teacher.

    Attributes:
        beside: maps the student's features to the teacher's, linearly; None without a loss on
            features.
    """

    def __init__(
        self,
        teacher: Teacher,
        student: Network,
        objective: Objective,
        settings: Distil,
        compute: Compute,
        seed: int,
    ) -> None:
        super().__init__(objective, compute)
        self._teacher, self._settings = teacher, settings
        if settings.features:
            projection = _projection(student.head().in_features, teacher.features, seed)
            self.beside = projection.to(compute.device)

    def weighed(self, targets: Tensor) -> Tensor:
        """Scale targets, float [N, classes], so that their mean loss is one over labelled pictures.

        The rows of pictures without labels are zeros, and add nothing to it. Without this a batch
        with few labels would give them little weight.
        """
        return targets * (len(targets) / targets.sum().clamp(min=1e-3))

    def __call__(self, learner: Network, batch: MixedBatch) -> Tensor:
        """The mean loss of a batch, float32 []; see `BatchLoss`. `learner` is the student."""
        with self._compute.autocast(), head_input(learner) as seen:
            heads = training_logits(learner, batch.pictures)
        larger = batch.for_teacher
        answer = self._teacher(batch.pictures if larger is None else larger)
        share = self._settings.weight
        losses = [
            head.weight
            * (
                (1 - share) * self._objective(head.logits, batch.targets)
                + share * soft_loss(head.logits, answer.logits, self._settings.temperature)
            )
            for head in heads
        ]
        if self.beside:
            with self._compute.autocast():
                guess = self.beside(seen[0])
            losses.append(self._settings.features * feature_loss(guess, answer.features))
        return torch.stack(losses).sum()


def soft_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The mean Kullback-Leibler divergence of the student's from the teacher's distributions.

    Both are softened by the temperature. It is multiplied by the temperature's square, so that
    gradients keep their size whatever the temperature (Hinton et al. 2015, section 2).

    Args:
        logits, teacher: float [N, classes].
        temperature: above 0.

    Returns float32 [].
    """
    student = F.log_softmax(logits.float() / temperature, 1)
    wanted = F.log_softmax(teacher.float() / temperature, 1)
    return F.kl_div(student, wanted, reduction="batchmean", log_target=True) * temperature**2


def feature_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """One minus the mean cosine of the angle between features, 0 to 2, float32 [].

    Args:
        projected: the student's features, mapped to the teacher's width, float [N, features].
        teacher: the teacher's, float [N, features].
    """
    return 1 - F.cosine_similarity(projected.float(), teacher.float()).mean()


def _projection(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """A linear map with random weights that keep the size of what they are applied to."""
    layer = nn.Linear(inputs, outputs, bias=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) / inputs**0.5)
    return layer
