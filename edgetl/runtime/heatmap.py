"""Heatmaps: which parts of a picture speak for a label, with numpy and Pillow only."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.bundle.manifest import Artifact
from edgetl.bundle.preprocessing import MAX_SIDE_PX, Preprocess
from edgetl.bundle.reports import Heatmap, Prediction
from edgetl.core.errors import EngineError
from edgetl.core.files import atomic_write, make_folder
from edgetl.runtime.preprocess import load_pixels
from edgetl.runtime.sources import Source

# The colours from no evidence to the most: transparent, then yellow to red.
_COLOURS = np.array([(255, 255, 178), (254, 204, 92), (253, 141, 60), (227, 26, 28)], np.float32)
_OPACITY = 0.65
_DRAWN_PX = 448


def class_activation(
    feature_map: NDArray[np.float32], weights: NDArray[np.float32], index: int
) -> NDArray[np.float32]:
    """How much each place of a feature map adds to a label's logit, float32 [h, w].

    A network that ends in global average pooling and a linear layer computes each logit as a sum
    over places (class activation mapping, Zhou et al. 2016, "Learning Deep Features for
    Discriminative Localization"). Softmax only depends on differences between logits, so the mean
    of the other labels' logits is subtracted. Without the layer's biases, the map's sum is that
    difference.

    Args:
        feature_map: float32 [h, w, channels], before pooling.
        weights: the linear layer's, float32 [outputs, channels]. With a single output, which is
            the logit of the second label, the first label's weights are zero.
        index: the label's.
    """
    if len(weights) == 1:
        weights = np.concatenate([np.zeros_like(weights), weights])
    others = np.delete(weights, index, axis=0).mean(axis=0)
    height, width, _ = feature_map.shape
    activation: NDArray[np.float32] = feature_map @ (weights[index] - others) / (height * width)
    return activation


def checked_feature_map(
    feature_map: NDArray[np.float32] | None, artifact: Artifact
) -> NDArray[np.float32]:
    """Return the feature map that an artifact output, float32 [h, w, channels].

    Raises EngineError if it is not what the bundle describes.
    """
    expected = artifact.feature_map
    if feature_map is None or expected is None or feature_map.shape != expected.shape:
        raise EngineError(
            f"Artifact '{artifact.name}' does not output the feature map that its bundle describes."
        )
    return feature_map


def draw_heatmap(picture: Image.Image, heatmap: Heatmap) -> Image.Image:
    """Draw a heatmap over the square picture that it belongs to, RGB of the same size.

    The picture becomes grey, so that the colours stand out on red and yellow things as well.
    Only what speaks for the label is coloured, from yellow to red, and the more opaque the more it
    adds; the largest value of the map is always red.
    """
    logits = np.array(heatmap.logits, np.float32)
    share = (logits / max(float(logits.max()), 1e-9)).clip(0, 1)
    smooth = Image.fromarray(share).resize(picture.size, Image.Resampling.BILINEAR)
    share = np.asarray(smooth).clip(0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(share, steps, _COLOURS[:, c]) for c in range(3)], axis=-1)
    opacity = (_OPACITY * share)[..., np.newaxis]
    grey = np.asarray(picture.convert("L"), np.float32)[..., np.newaxis]
    mixed = (1 - opacity) * grey + opacity * colours
    return Image.fromarray(mixed.round().astype(np.uint8))


class HeatmapFolder:
    """Draws heatmaps into a folder, each over its picture, as `NAME.heatmap.jpg`.

    Pictures of the same name, from different folders, are numbered. What is drawn on is the square
    that the network sees, at 448 px a side or at the network's own size if that is larger.

    Args:
        folder: made for the first heatmap if it does not exist.
        preprocess: the bundle's.
    """

    def __init__(self, folder: Path, preprocess: Preprocess) -> None:
        self._folder = folder
        self._names: set[str] = set()
        scale = max(1.0, _DRAWN_PX / preprocess.size_px)
        self._drawn = msgspec.structs.replace(
            preprocess, size_px=min(MAX_SIDE_PX, round(preprocess.size_px * scale))
        )

    def add(self, source: Source, prediction: Prediction) -> Path:
        """Draw a prediction's heatmap, and return the file.

        Raises DataError if the picture cannot be read again, EdgetlError if the file cannot be
        written.
        """
        assert prediction.heatmap is not None
        make_folder(self._folder)
        picture = Image.fromarray(load_pixels(source.picture, self._drawn))
        path = self._folder / self._free_name(source)
        with atomic_write(path) as file:
            draw_heatmap(picture, prediction.heatmap).save(file, "JPEG", quality=90)
        return path

    def _free_name(self, source: Source) -> str:
        stem = "stdin" if source.name == "-" else Path(source.name).stem
        name, number = f"{stem}.heatmap.jpg", 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}.heatmap.jpg"
        self._names.add(name)
        return name
