"""The settings for turning a picture into network input; `edgetl.runtime` applies them."""

from typing import Annotated, Literal

import msgspec

from edgetl.core.schema import Frozen

Channels = tuple[float, float, float]
Resampling = Literal["bilinear", "bicubic"]
MAX_SIDE_PX = 2048
SidePx = Annotated[int, msgspec.Meta(ge=16, le=MAX_SIDE_PX)]


class Preprocess(Frozen, kw_only=True, frozen=True):
    """How a picture is resized and cropped, and how the graph then normalises it.

    The runtime resizes the picture's short side (antialiased) to `resize_px` and crops the centre
    square of `size_px` x `size_px`, as uint8 RGB. The exported graph itself normalises with `mean`
    and `std` (of pixel / 255, RGB order).

    Attributes:
        size_px: side of the square input, in pixels.
        resize: the resampling filter.
        crop: `size_px` as a fraction of the resized short side.
        mean, std: the normalisation.
    """

    size_px: SidePx
    resize: Resampling = "bilinear"
    crop: Annotated[float, msgspec.Meta(gt=0.3, le=1.0)] = 1.0
    mean: Channels
    std: Channels

    def __post_init__(self) -> None:
        if not all(part > 0 for part in self.std):
            raise ValueError(f"std {list(self.std)}: each part is above 0")

    @property
    def resize_px(self) -> int:
        """Length of the short side before the centre crop, in pixels."""
        return max(self.size_px, round(self.size_px / self.crop))
