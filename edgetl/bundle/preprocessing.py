"""The facts that turn a photograph into the network's input; the doing is in `edgetl.runtime`."""

from typing import Annotated, Literal

import msgspec

from edgetl.core.schema import Frozen

Channels = tuple[float, float, float]
Resampling = Literal["bilinear", "bicubic"]
MAX_SIDE_PX = 2048
SidePx = Annotated[int, msgspec.Meta(ge=16, le=MAX_SIDE_PX)]


class Preprocess(Frozen, kw_only=True, frozen=True):
    """How pixels are made and what the graph does with them first.

    The picture's short side is resized (antialiased) to `resize_px` and the centre
    `size_px` x `size_px` square is kept: uint8 RGB, which is all the runtime does. `mean` and
    `std` (of pixel / 255, RGB order) live inside the exported graph.
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
