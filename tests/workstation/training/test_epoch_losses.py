import math

import pytest

torch = pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.epoch_losses import EpochLosses  # noqa: E402
from tests.workstation.training.tiny import recipe  # noqa: E402


def losses_on(device: str, steps: int) -> EpochLosses:
    compute = Compute(recipe(), "cpu")
    compute.device = torch.device(device)  # "mps" and its like need not be there to be asked late
    return EpochLosses(3, steps, compute)


def test_the_mean_counts_each_picture_once() -> None:
    losses = losses_on("cpu", 2)
    assert losses.add(torch.tensor(1.0), 30) == 1.0
    assert losses.add(torch.tensor(4.0), 10) == 4.0
    assert losses.mean == pytest.approx(1.75)


def test_a_cpu_finds_a_loss_that_is_no_number_at_once() -> None:
    losses = losses_on("cpu", 3)
    losses.add(torch.tensor(0.5), 8)
    with pytest.raises(EdgetlError, match=r"in epoch 3, step 2\.$"):
        losses.add(torch.tensor(math.inf), 8)


def test_a_gpu_finds_it_at_the_end_of_the_epoch_and_names_the_step() -> None:
    losses = losses_on("mps", 4)
    for value in (0.5, math.nan, 0.5):
        assert losses.add(torch.tensor(value), 8) is None
    with pytest.raises(EdgetlError, match=r"in epoch 3, step 2\.$") as caught:
        losses.add(torch.tensor(0.5), 8)
    assert caught.value.hint is not None
    assert "The checkpoint of the last good epoch is kept." in caught.value.hint


def test_a_gpus_last_loss_is_shown() -> None:
    losses = losses_on("mps", 2)
    assert losses.add(torch.tensor(0.5), 8) is None
    assert losses.add(torch.tensor(0.25), 8) == 0.25
