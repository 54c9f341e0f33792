"""Corruptions of pictures, and accuracy under them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.core.progress import Silent
from edgetl.data.folders import read_class_folders
from edgetl.evaluation.accuracy import predict_all
from edgetl.evaluation.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    corrupted_models,
    corruption_scores,
    mean_top1,
)
from tests.evaluation.test_accuracy import reddest
from tests.making import PLAIN, write_class_folders


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth ramp with a sharp edge, uint8 [64, 64, 3]."""
    y, x = np.mgrid[:64, :64]
    grey = 40 + 2 * x + np.where(y > 31, 60, 0)
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_changes_a_picture_more(name: str, picture: np.ndarray) -> None:
    changed = [CORRUPTIONS[name](picture, severity) for severity in SEVERITIES]
    assert all(c.shape == picture.shape and c.dtype == np.uint8 for c in changed)
    distances = [float(((c.astype(float) - picture) ** 2).mean()) for c in changed]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert np.array_equal(CORRUPTIONS[name](picture, 3), changed[2])  # the same each time


def test_noise_differs_between_pictures(picture: np.ndarray) -> None:
    other = picture[::-1].copy()
    noise = CORRUPTIONS["noise"](picture, 1).astype(int) - picture
    assert not np.array_equal(noise, CORRUPTIONS["noise"](other, 1).astype(int) - other)
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.1)


def test_a_stop_halves_the_light(picture: np.ndarray) -> None:
    dark = CORRUPTIONS["darkness"](picture, 1) / 255.0
    np.testing.assert_allclose(dark**2.2, (picture / 255.0) ** 2.2 / 2, atol=0.01)


def test_a_colour_cast_is_warm(picture: np.ndarray) -> None:
    red, green, blue = CORRUPTIONS["colour cast"](picture, 5).mean((0, 1))
    assert red > green > blue
    assert green == pytest.approx(picture.mean(), abs=0.5)


def test_blur_is_relative_to_the_side_of_the_picture(picture: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.NEAREST))
    small, big = CORRUPTIONS["blur"](picture, 2), CORRUPTIONS["blur"](large, 2)
    again = np.asarray(Image.fromarray(big).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(again.astype(int) - small).mean() < 2


def needs_light(pixels: np.ndarray) -> np.ndarray:
    """Calls a picture by its colour, and a dark one a check, the first class."""
    logits = reddest(pixels)
    logits[pixels.max((1, 2, 3)) < 100, 0] = 255
    return logits


def test_the_scores_are_those_of_the_corrupted_pictures(tmp_path: Path) -> None:
    examples = read_class_folders(write_class_folders(tmp_path / "data", 15)).examples
    models = {"m": needs_light, **corrupted_models("m", needs_light)}
    answers = predict_all(models, examples, PLAIN, Silent(), stage="testing")
    assert answers.top1("m") == 1.0
    scores = {(s.corruption, s.severity): s for s in corruption_scores("m", answers)}
    assert len(scores) == len(CORRUPTIONS) * len(SEVERITIES)
    assert scores["blur", 5].top1 == 1.0
    assert scores["darkness", 5].top1 == pytest.approx(1 / 3)
    interval = scores["darkness", 5].top1_interval
    assert 0 < interval.low < 1 / 3 < interval.high < 1
    assert 1 / 3 < mean_top1(list(scores.values())) < 1
