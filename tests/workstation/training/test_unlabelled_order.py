"""An epoch of pictures with and without labels: all of them, and labels in every batch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.training.loss import epoch_order  # noqa: E402
from edgetl.workstation.training.unlabelled_order import (  # noqa: E402
    mixed_steps,
    pictures_per_epoch,
)


def steps(labelled: int, unlabelled: int, count: int, seed: int = 0) -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    return mixed_steps(np.arange(labelled) % 3, unlabelled, count, "none", generator)


def test_without_unlabelled_pictures_nothing_changes() -> None:
    order = epoch_order(np.arange(20) % 3, "none", torch.Generator().manual_seed(4))
    wanted = [np.sort(part) for part in np.array_split(order, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(steps(20, 0, 3, 4), wanted, strict=True))
    assert pictures_per_epoch(20, 0) == 20


@pytest.mark.parametrize(("labelled", "unlabelled"), [(10, 300), (200, 30), (7, 21), (1, 5)])
def test_every_picture_is_shown_and_every_batch_has_labels(labelled: int, unlabelled: int) -> None:
    total = pictures_per_epoch(labelled, unlabelled)
    count = -(-total // 16)
    parts = steps(labelled, unlabelled, count)
    shown = np.concatenate(parts)
    assert len(shown) == total
    assert set(shown.tolist()) == set(range(labelled + unlabelled))
    unknown = shown[shown >= labelled]
    assert len(unknown) == len(set(unknown.tolist())) == unlabelled
    assert {len(part) for part in parts} <= {total // count, -(-total // count)}
    shares = [float((part < labelled).mean()) for part in parts]
    assert min(shares) >= 0.2
    assert max(shares) - min(shares) < 0.2


def test_labelled_pictures_are_repeated_evenly() -> None:
    shown = np.concatenate(steps(10, 300, 20))
    times = np.bincount(shown[shown < 10], minlength=10)
    assert set(times.tolist()) == {10}
    assert not np.array_equal(np.concatenate(steps(10, 300, 20, seed=1)), shown)
