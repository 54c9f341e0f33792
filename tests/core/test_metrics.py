import numpy as np
import pytest

from edgetl.core.metrics import accuracy_report, confusion_matrix, softmax

# By hand: cat 2 of 3 right, dog 1 of 2 right, hen 1 of 1; one cat called dog, one dog called hen.
TRUTH = np.array([0, 0, 0, 1, 1, 2])
SAID = np.array([0, 0, 1, 1, 2, 2])
LABELS = ("cat", "dog", "hen")


def test_the_confusion_matrix_has_true_classes_as_rows() -> None:
    assert confusion_matrix(TRUTH, SAID, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_scores_agree_with_those_worked_out_by_hand() -> None:
    report = accuracy_report(TRUTH, SAID, LABELS, subject="hand", skipped=4)
    assert report.top1 == pytest.approx(4 / 6)
    assert [c.precision for c in report.per_class] == pytest.approx([1, 1 / 2, 1 / 2])
    assert [c.recall for c in report.per_class] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [c.f1 for c in report.per_class] == pytest.approx([4 / 5, 1 / 2, 2 / 3])
    assert report.macro_precision == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert report.macro_recall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert report.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert [c.images for c in report.per_class] == [3, 2, 1]
    assert (report.images, report.skipped, report.subject) == (6, 4, "hand")
    assert report.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert report.labels == LABELS


def test_a_class_without_pictures_stays_out_of_the_macro_means() -> None:
    report = accuracy_report(np.array([0, 0]), np.array([0, 2]), LABELS, subject="s")
    assert report.macro_recall == pytest.approx(1 / 2)
    assert report.macro_f1 == pytest.approx(2 / 3)
    hen = report.per_class[2]
    assert (hen.images, hen.precision, hen.recall, hen.f1) == (0, 0.0, 0.0, 0.0)


def test_nothing_at_all_scores_zero() -> None:
    none = np.array([], np.int64)
    report = accuracy_report(none, none, LABELS, subject="s")
    assert (report.top1, report.macro_f1, report.images) == (0.0, 0.0, 0)


def test_softmax_agrees_with_fractions_worked_out_by_hand() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0]], np.float32))
    assert softmax(logits)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=1e-6)
    assert softmax(2 * logits, temperature=2)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=1e-6)


def test_softmax_survives_logits_that_overflow_exp() -> None:
    result = softmax(np.array([1000.0, 1000.0, -1000.0], np.float32))
    assert result.dtype == np.float32
    assert result.tolist() == [0.5, 0.5, 0.0]


def test_softmax_leaves_its_input_alone() -> None:
    logits = np.array([1.0, 2.0])
    softmax(logits)
    assert logits.tolist() == [1.0, 2.0]
