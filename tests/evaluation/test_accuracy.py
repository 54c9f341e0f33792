from pathlib import Path

import numpy as np
import pytest

from edgetl.core.errors import DataError
from edgetl.core.progress import Silent
from edgetl.data.folders import Example, read_class_folders
from edgetl.evaluation.accuracy import one_by_one, predict_all
from edgetl.runtime.preprocess import load_pixels
from tests.making import PLAIN, write_class_folders


def reddest(pixels: np.ndarray) -> np.ndarray:
    """Calls a picture by its strongest channel: red checks, blue slopes, green stripes."""
    means = pixels.reshape(len(pixels), -1, 3).mean(1)
    return means[:, [0, 2, 1]].astype(np.float32)


def always_first(pixels: np.ndarray) -> np.ndarray:
    return np.tile(np.array([1, 0, 0], np.float32), (len(pixels), 1))


def test_several_models_see_the_same_pictures(tmp_path: Path) -> None:
    examples = read_class_folders(write_class_folders(tmp_path / "data", 15)).examples
    models = {"colour": reddest, "first": always_first}
    answers = predict_all(models, examples, PLAIN, Silent(), stage="testing")
    assert answers.truth.tolist() == [example.label for example in examples]
    assert answers.top1("colour") == 1.0
    assert answers.top1("first") == pytest.approx(1 / 3)
    assert answers.agreement("colour", "first") == pytest.approx(1 / 3)
    assert answers.skipped == 0
    pixels = np.stack([load_pixels(example.path, PLAIN) for example in examples])
    assert np.array_equal(answers.logits["colour"], reddest(pixels))
    assert np.array_equal(answers.predicted("colour"), answers.truth)


def test_pictures_that_cannot_be_read_are_counted_and_left_out(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 3)
    (root / "slope" / "00.png").write_bytes(b"")
    answers = predict_all(
        {"colour": reddest}, read_class_folders(root).examples, PLAIN, Silent(), stage="testing"
    )
    assert (len(answers.truth), answers.skipped) == (8, 1)
    assert answers.top1("colour") == 1.0


def test_no_readable_picture_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    examples = [Example(tmp_path / "a.png", 0)] * 3
    with pytest.raises(DataError) as caught:
        predict_all({"colour": reddest}, examples, PLAIN, Silent(), stage="testing")
    assert str(caught.value) == "None of the 3 pictures can be read."


def test_a_model_of_one_picture_becomes_one_of_many() -> None:
    pixels = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
    single = one_by_one(lambda picture: reddest(picture[np.newaxis])[0])
    assert np.array_equal(single(pixels), reddest(pixels))
