"""Checks on the pictures that a model is calibrated with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgetl.core.errors import EdgetlError
from edgetl.quantize.graph import Pixels


def checked(calibration: Sequence[Pixels], size: tuple[int, int]) -> list[Pixels]:
    """The pictures, uint8 [H, W, 3] each.

    Args:
        calibration: pictures exactly as the runtime would feed them.
        size: the network's H and W.

    Raises:
        EdgetlError: there is no picture, or one is not of the network's shape and type.
    """
    if not calibration:
        raise EdgetlError(
            "There are no calibration pictures; int8 needs some to choose its ranges.",
            hint="Pass a few dozen pictures or more, of the kind the device will see.",
        )
    wanted = (*size, 3)
    for index, picture in enumerate(calibration):
        if picture.shape != wanted or picture.dtype != np.uint8:
            raise EdgetlError(
                f"Calibration picture {index} is {picture.dtype} {list(picture.shape)}; "
                f"the model takes uint8 {list(wanted)}.",
                hint="Prepare calibration pictures with the runtime's own preprocessing.",
            )
    return list(calibration)
