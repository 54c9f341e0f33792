"""Pictures that are changed against the float network: do the exported artifacts follow it?

FGSM: Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples". PGD: Madry et al.
2018, "Towards Deep Learning Models Resistant to Adversarial Attacks".
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from captum.robust import FGSM, PGD
from numpy.typing import NDArray

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.progress import Progress
from edgetl.evaluation.accuracy import Model
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.torch_model import UnitRangeNetwork, to_unit_range

ATTACKS = ("FGSM", "PGD")
STRENGTHS = (1, 2, 4)
"""How much each channel of a pixel may change, of 255."""

_STEPS = 10
_STEP = 2.5 / _STEPS  # of the strength, as in Madry et al.
_BATCH = 16


class AttackScore(NamedTuple):
    """How models do on pictures that an attack changed.

    Attributes:
        attack: one of ATTACKS.
        strength: how much each channel of a pixel may have changed, of 255.
        top1: 0 to 1, by the models' names.
        misled: of how many pictures torch's label was right before and is wrong now.
        followed: the fraction of those for which a model's label is wrong now as well, by name;
            empty if there are none.
    """

    attack: str
    strength: int
    top1: dict[str, float]
    misled: int
    followed: dict[str, float]


def attack_scores(
    network: Network,
    spec: Preprocess,
    models: Mapping[str, Model],
    pictures: Pixels,
    truth: NDArray[np.int64],
    progress: Progress,
) -> list[AttackScore]:
    """Attack a network on its own gradients, and score models on the changed pictures.

    Args:
        network: the float network that the pictures are changed against.
        spec: its preprocessing.
        models: what is scored, by name; the first must be the float network itself.
        pictures: prepared pictures, uint8 [N, S, S, 3].
        truth: their class indices, int64 [N].
        progress: where to show how far it is.
    """
    torch_name = next(iter(models))
    right_before = models[torch_name](pictures).argmax(axis=1) == truth
    scores = []
    with progress.stage("attacking", len(ATTACKS) * len(STRENGTHS), "attacks") as shown:
        for attack in ATTACKS:
            for strength in STRENGTHS:
                changed = changed_pictures(network, spec, pictures, truth, attack, strength)
                right = {n: model(changed).argmax(axis=1) == truth for n, model in models.items()}
                misled = right_before & ~right[torch_name]
                followed = {}
                if misled.any():
                    followed = {n: float((~r[misled]).mean()) for n, r in right.items()}
                top1 = {n: float(r.mean()) for n, r in right.items()}
                scores.append(AttackScore(attack, strength, top1, int(misled.sum()), followed))
                shown.advance(1)
    return scores


def changed_pictures(
    network: Network,
    spec: Preprocess,
    pictures: Pixels,
    truth: NDArray[np.int64],
    attack: str,
    strength: int,
) -> Pixels:
    """Change pictures so that the network's loss grows, by at most `strength` of 255.

    The result is rounded to uint8, since that is what a device's network takes.
    """
    module = UnitRangeNetwork(network, spec).eval()
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    radius = strength / 255
    parts = []
    with torch.random.fork_rng(), warnings.catch_warnings():
        # captum's PGD warns of the gradients that it turns on itself.
        warnings.filterwarnings("ignore", "Input Tensor", UserWarning)
        torch.manual_seed(0)  # of the random start of PGD
        for begin in range(0, len(pictures), _BATCH):
            batch = to_unit_range(pictures[begin : begin + _BATCH]).requires_grad_()
            labels = torch.tensor(truth[begin : begin + _BATCH])
            if attack == "FGSM":
                changed = FGSM(module, loss, 0.0, 1.0).perturb(batch, radius, labels)
            else:
                changed = PGD(module, loss, 0.0, 1.0).perturb(
                    batch, radius, _STEP * radius, _STEPS, labels, random_start=True
                )
            parts.append(torch.round(changed.detach() * 255).to(torch.uint8))
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()
