from pathlib import Path

import numpy as np

from edgetl.core.errors import DataError
from edgetl.data.folders import Example, read_class_folders
from edgetl.data.reading import read_pixels
from edgetl.runtime.preprocess import load_pixels
from tests.making import PLAIN, write_class_folders


def test_pictures_come_in_order_with_the_devices_own_pixels(tmp_path: Path) -> None:
    examples = read_class_folders(write_class_folders(tmp_path / "data", 30)).examples
    read = list(read_pixels(examples, PLAIN))
    assert [example for example, _ in read] == list(examples)
    for example, pixels in read[::13]:
        assert np.array_equal(pixels, load_pixels(example.path, PLAIN))


def test_an_unreadable_picture_is_handed_over_as_its_error(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "data", 1, ("checks",))
    (root / "checks" / "zz.png").write_text("no picture")
    examples = [Example(path, 0) for path in sorted((root / "checks").iterdir())]
    (_, first), (_, second) = read_pixels(examples, PLAIN)
    assert isinstance(first, np.ndarray)
    assert isinstance(second, DataError)
    assert "zz.png' cannot be read as a picture" in str(second)
