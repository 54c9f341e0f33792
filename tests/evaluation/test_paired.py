import numpy as np
import pytest

from edgetl.bundle.manifest import ClassDrop
from edgetl.evaluation.accuracy import ModelLogits
from edgetl.evaluation.paired import count_flips, disagreements, worst_class


def test_flips_are_counted_both_ways() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    reference = np.array([0, 0, 1, 0, 2, 1])
    other = np.array([0, 1, 0, 1, 2, 0])
    flips = count_flips(truth, reference, other)
    assert (flips.lost, flips.won) == (2, 1)


def test_the_interval_is_of_pairs_and_not_of_two_accuracies() -> None:
    truth = np.zeros(1000, np.int64)
    reference = np.repeat([0, 1], [900, 100])
    other = reference.copy()
    other[:10] = 1
    low, high = (
        getattr(count_flips(truth, reference, other).interval_pp, e) for e in ("low", "high")
    )
    # Ten of a thousand: 1 +- 2 * 0.31 points, where each accuracy alone moves by 2 * 0.95.
    assert low == pytest.approx(0.4, abs=0.15)
    assert high == pytest.approx(1.65, abs=0.2)


def test_nothing_lost_has_an_interval_of_nothing() -> None:
    truth = np.array([0, 1])
    interval = count_flips(truth, truth, truth).interval_pp
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_the_worst_class_is_the_one_whose_recall_fell_most() -> None:
    truth = np.array([0] * 10 + [1] * 4 + [2] * 4)
    other = truth.copy()
    other[:2] = 1  # 2 of 10
    other[10] = 0  # 1 of 4
    worst = worst_class(truth, truth, other, ("a", "b", "c"))
    assert worst == ClassDrop(label="b", images=4, drop_pp=25.0)
    assert worst_class(truth, other, truth, ("a", "b", "c")) is None


def answers(images: int, **flips: int) -> ModelLogits:
    """Models that answer otherwise than torch for so many of the pictures, each for others."""
    said = {"torch": np.zeros(images, np.int64)}
    begin = 0
    for name, count in flips.items():
        said[name.replace("_", "-")] = (np.arange(images) >= begin) & (
            np.arange(images) < begin + count
        )
        begin += count
    logits = {name: np.eye(2, dtype=np.float32)[s.astype(int)] for name, s in said.items()}
    return ModelLogits(np.zeros(images, np.int64), logits, 0)


@pytest.mark.parametrize(("images", "flips"), [(10, 1), (1000, 1), (3000, 3)])
def test_float_artifacts_may_differ_from_torch_in_a_picture_or_one_in_a_thousand(
    images: int, flips: int
) -> None:
    names = ["onnx-fp32"]
    assert disagreements(answers(images, onnx_fp32=flips), names) == []
    (text,) = disagreements(answers(images, onnx_fp32=flips + 1), names)
    assert text.startswith("onnx-fp32 and torch agree on only ")


def test_int8_artifacts_must_agree_with_each_other() -> None:
    names = ["onnx-int8", "tflite-int8-mixed"]
    assert disagreements(answers(100, onnx_int8=2, tflite_int8_mixed=1), names) == []
    assert disagreements(answers(100, onnx_int8=2, tflite_int8_mixed=2), names) == [
        "onnx-int8 and tflite-int8-mixed agree on only 96.0% of 100 pictures."
    ]
