import numpy as np
import pytest

pytest.importorskip("torch")

from edgetl.bundle.reports import AccuracyReport
from edgetl.evaluation.metrics import accuracy_report
from edgetl.workstation.training.history import EpochMetrics
from edgetl.workstation.training.run_warnings import (
    above_its_teacher,
    below_its_probe,
    overfitted,
)


def scored(right: int, images: int = 10) -> AccuracyReport:
    truth = np.zeros(images, np.int64)
    logits = np.zeros((images, 2), np.float32)
    logits[:right, 0] = 1
    logits[right:, 1] = 1
    return accuracy_report(truth, logits, ("a", "b"), subject="test")


def test_a_run_below_its_own_probe_says_by_how_much_and_what_to_try() -> None:
    said = below_its_probe(scored(7), 0.9)
    assert said is not None
    assert said.startswith(
        "training did not help: 70.00% of the test pictures are right, and 90.00% were with the "
        "linear probe alone (2 of 10 pictures, which may be chance)."
    )
    assert "--epochs 0" in said


def test_a_run_as_good_as_its_probe_or_without_one_says_nothing() -> None:
    assert below_its_probe(scored(9), 0.9) is None
    assert below_its_probe(scored(9), 0.8) is None
    assert below_its_probe(scored(9), None) is None
    assert below_its_probe(None, 0.9) is None


def test_a_student_that_is_better_than_its_teacher_says_so() -> None:
    said = above_its_teacher(scored(9), 0.8)
    assert said is not None
    assert "80.00% and 90.00% of the test pictures are right" in said
    assert above_its_teacher(scored(9), 0.9) is None
    assert above_its_teacher(scored(9), None) is None
    assert above_its_teacher(None, 0.8) is None


def lines(train: list[float], val: list[float | None]) -> list[EpochMetrics]:
    return [
        EpochMetrics(
            epoch=number, train_loss=t, val_loss=v, val_top1=v, val_calibrated_loss=v,
            rate=1.0, seconds=1.0,
        )
        for number, (t, v) in enumerate(zip(train, val, strict=True), 1)
    ]  # fmt: skip


def test_a_validation_loss_that_rises_while_training_falls_is_named() -> None:
    said = overfitted(lines([1.0, 0.6, 0.3, 0.1], [0.9, 0.5, 0.7, 0.8]))
    assert said is not None
    assert said.startswith(
        "the validation loss rose from 0.500 in epoch 2 to 0.800, while the training loss fell "
        "from 0.600 to 0.100"
    )
    assert "--epochs 2" in said


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ([1.0, 0.6, 0.3], [0.9, 0.5, 0.52]),  # hardly
        ([1.0, 0.6, 0.7], [0.9, 0.5, 0.8]),  # training rose, too
        ([1.0, 0.6, 0.3], [None, None, None]),
        ([1.0, 0.3], [0.5, 0.9]),  # too short to tell
        ([], []),
    ],
)
def test_other_courses_are_no_reason_to_warn(train, val) -> None:
    assert overfitted(lines(train, val)) is None
