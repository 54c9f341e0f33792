"""Pictures that are changed against the gradients of a network."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("captum")

import torch

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.progress import Silent
from edgetl.data.folders import read_class_folders
from edgetl.evaluation.accuracy import Model
from edgetl.runtime.preprocess import load_pixels
from edgetl.workstation.backbones.build import Network
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.gradient_attack import attack_scores, changed_pictures
from edgetl.workstation.torch_model import torch_model


class Trained(NamedTuple):
    """A trained network, and pictures with the labels that it gives them."""

    network: Network
    spec: Preprocess
    model: Model
    pictures: np.ndarray
    truth: np.ndarray


@pytest.fixture(scope="module")
def trained(tiny_run: Path, pictures: Path) -> Trained:
    network, facts = load_checkpoint(tiny_run)
    files = [example.path for example in read_class_folders(pictures).examples][::6]
    pixels = np.stack([load_pixels(file, facts.preprocess) for file in files])
    model = torch_model(network, facts.preprocess)
    return Trained(network, facts.preprocess, model, pixels, model(pixels).argmax(axis=1))


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
def test_it_stays_within_its_strength_and_raises_the_loss(trained: Trained, attack: str) -> None:
    network, spec, model, pictures, truth = trained
    changed = changed_pictures(network, spec, pictures, truth, attack, 2)
    assert changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - pictures).max() == 2

    def losses(pixels: np.ndarray) -> torch.Tensor:
        logits = torch.tensor(model(pixels))
        return torch.nn.functional.cross_entropy(logits, torch.tensor(truth), reduction="none")

    assert (losses(changed) >= losses(pictures)).all()  # Equal: the softmax is saturated.
    assert losses(changed).mean() > 2 * losses(pictures).mean()
    again = changed_pictures(network, spec, pictures, truth, attack, 2)
    assert np.array_equal(changed, again)


def test_a_copy_follows_the_network_and_another_model_does_not(trained: Trained) -> None:
    network, spec, model, pictures, truth = trained

    def unmoved(pixels: np.ndarray) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[truth]

    models = {"torch": model, "copy": model, "unmoved": unmoved}
    scores = attack_scores(network, spec, models, pictures, truth, Silent())
    assert [(s.attack, s.strength) for s in scores] == [
        (attack, strength) for attack in ("FGSM", "PGD") for strength in (1, 2, 4)
    ]
    strongest = scores[-1]
    assert strongest.misled > 0
    assert strongest.followed == {"torch": 1.0, "copy": 1.0, "unmoved": 0.0}
    assert strongest.top1["torch"] == strongest.top1["copy"] < strongest.top1["unmoved"] == 1.0
    assert strongest.top1["torch"] <= scores[3].top1["torch"]
