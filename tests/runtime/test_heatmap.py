from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.bundle.preprocessing import Preprocess
from edgetl.bundle.reports import Heatmap, Prediction
from edgetl.core.errors import EdgetlError
from edgetl.runtime.heatmap import HeatmapFolder, class_activation, draw_heatmap
from edgetl.runtime.sources import Source

PREPROCESS = Preprocess(size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CORNER = Heatmap(label="cat", logits=((3.0, -1.0), (0.0, 0.0)))


def prediction(heatmap: Heatmap) -> Prediction:
    return Prediction(
        source="x.jpg", label="cat", probability=1.0, top=(), decode_ms=0.0, preprocess_ms=0.0,
        inference_ms=0.0, artifact="onnx-int8", engine="onnxruntime 1", provider="cpu",
        heatmap=heatmap,
    )  # fmt: skip


def test_a_heatmap_divides_the_logit_over_the_picture() -> None:
    random = np.random.default_rng(0)
    maps, weights = random.random((3, 4, 5), np.float32), random.random((6, 5), np.float32)
    logits = weights @ maps.mean((0, 1))
    for index in range(6):
        activation = class_activation(maps, weights, index)
        assert activation.shape == (3, 4)
        others = np.delete(logits, index).mean()
        assert activation.sum() == pytest.approx(logits[index] - others, abs=1e-5)


def test_of_a_single_output_the_first_label_has_no_weights() -> None:
    maps, weights = np.ones((2, 2, 3), np.float32), np.array([[1.0, 2.0, 3.0]], np.float32)
    assert class_activation(maps, weights, 1).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert class_activation(maps, weights, 0).tolist() == [[-1.5, -1.5], [-1.5, -1.5]]


def test_only_what_speaks_for_the_label_is_coloured() -> None:
    grey = Image.new("RGB", (64, 64), (90, 90, 90))
    drawn = np.asarray(draw_heatmap(grey, CORNER)).astype(int)
    red, _, blue = drawn[0, 0]
    assert red > 150 and blue < 90, drawn[0, 0]
    assert drawn[0, 63].tolist() == drawn[63, 63].tolist() == [90, 90, 90]


def test_without_evidence_the_picture_stays_as_it_is() -> None:
    grey = Image.new("RGB", (20, 20), (90, 90, 90))
    against = Heatmap(label="cat", logits=((-1.0, -2.0), (-3.0, 0.0)))
    assert np.asarray(draw_heatmap(grey, against)).tolist() == np.asarray(grey).tolist()


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 60), (0, 120, 0))
    folder = HeatmapFolder(tmp_path / "made" / "here", PREPROCESS)
    names = ["a/cat.jpg", "b/cat.png", "-", "../../cat.jpg"]
    paths = [folder.add(Source(name, picture), prediction(CORNER)) for name in names]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "made/here/cat.heatmap.jpg",
        "made/here/cat-2.heatmap.jpg",
        "made/here/stdin.heatmap.jpg",
        "made/here/cat-3.heatmap.jpg",
    ]
    assert {Image.open(path).size for path in paths} == {(448, 448)}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = HeatmapFolder(tmp_path / "file", PREPROCESS)
    with pytest.raises(EdgetlError, match="file"):
        folder.add(Source("x.png", Image.new("RGB", (40, 40))), prediction(CORNER))
