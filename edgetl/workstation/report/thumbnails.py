"""Pictures of a report: small JPEGs inside the page, with and without a heatmap."""

import base64
import io
from typing import NamedTuple

import msgspec
from PIL import Image

from edgetl.bundle.preprocessing import MAX_SIDE_PX, Preprocess
from edgetl.core.errors import EdgetlError
from edgetl.runtime.heatmap import draw_heatmap
from edgetl.runtime.preprocess import load_pixels
from edgetl.workstation.report.scores import ReportModel, ShownPicture

_SIDE_PX = 224
_QUALITY = 80


class Thumbnail(NamedTuple):
    """A picture as the network sees it, and heatmaps over it, as `data:` addresses.

    Attributes:
        picture: the square that the network sees.
        heatmaps: each with the name of its model.
    """

    picture: str
    heatmaps: list[tuple[str, str]]


def make_thumbnail(
    shown: ShownPicture, preprocess: Preprocess, explained: list[ReportModel]
) -> Thumbnail | None:
    """Draw a picture and its heatmap by each model in `explained`, which must have feature maps.

    Returns None if the picture cannot be read any more.
    """
    larger = msgspec.structs.replace(
        preprocess, size_px=min(MAX_SIDE_PX, max(_SIDE_PX, preprocess.size_px))
    )
    try:
        image = Image.fromarray(load_pixels(shown.example.path, larger))
        pixels = load_pixels(shown.example.path, preprocess)
    except EdgetlError:
        return None
    small = image.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    heatmaps = [
        (model.name, _data_address(draw_heatmap(small, model.heatmap(pixels))))
        for model in explained
        if model.heatmap
    ]
    return Thumbnail(_data_address(small), heatmaps)


def _data_address(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
