"""Choosing among adapted networks without labels of the pictures they are adapted to."""

import numpy as np
from numpy.typing import NDArray

from edgetl.runtime.softmax import softmax


def information(logits: NDArray[np.float32], temperature: float) -> float:
    """How much a network's answers say: the mutual information of pictures and labels, in nats.

    The entropy of the mean answer minus the mean entropy of the answers: large if the network is
    sure of each picture and its labels differ (Bridle et al. 1991, "Unsupervised Classifiers,
    Mutual Information and 'Phantom Targets'"; used for adaptation by Shi & Sha 2012,
    "Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain
    Adaptation"). It takes for granted that no class is much rarer than in training.

    Args:
        logits: float32 [N, C].
        temperature: what they are divided by.
    """
    answers = softmax(logits / temperature)
    return _entropy(answers.mean(0)) - float(np.mean([_entropy(answer) for answer in answers]))


def _entropy(distribution: NDArray[np.floating]) -> float:
    kept = distribution[distribution > 0]
    return float(-(kept * np.log(kept)).sum())
