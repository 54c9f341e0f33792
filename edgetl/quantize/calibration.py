"""Checks on the pictures that a model is calibrated with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import EdgetlError


def batches(
    calibration: Sequence[NDArray[np.uint8]], input_shape: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """Return each picture as the model takes it, uint8 [1, H, W, 3].

    Args:
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.
        input_shape: the model's input shape, (1, H, W, 3).

    Raises:
        EdgetlError: there is no picture, or one is not of the model's shape and type.
    """
    if not calibration:
        raise EdgetlError(
            "There are no calibration pictures; int8 needs some to choose its ranges.",
            hint="Pass a few dozen pictures or more, of the kind the device will see.",
        )
    wanted = tuple(input_shape[1:])
    for index, picture in enumerate(calibration):
        if picture.shape != wanted or picture.dtype != np.uint8:
            raise EdgetlError(
                f"Calibration picture {index} is {picture.dtype} {list(picture.shape)}; "
                f"the model takes uint8 {list(wanted)}.",
                hint="Prepare calibration pictures with the runtime's own preprocessing.",
            )
    return [picture[np.newaxis] for picture in calibration]
