"""What a picture looks like, in a few numbers: brightness, colours, contrast and sharpness."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.runtime.preprocess import Pixels

_SCALES = 4
APPEARANCE_VALUES = 9 + 2 * _SCALES


def appearance(pixels: Pixels) -> NDArray[np.float32]:
    """Describe a prepared picture, uint8 RGB [size, size, 3], in 17 numbers: float32 [17].

    The means and standard deviations of red, green and blue at half the picture's scale; how far
    red and blue are from green; the standard deviation of the brightness; and the mean difference
    of the brightness between neighbours, in the columns and in the rows, at the picture's own
    scale, at a half, a quarter and an eighth of it. All are on a logarithmic scale, on which
    changes of lighting and contrast are shifts.

    A network that was trained to tell a few classes may ignore all of this, and take a colour
    photograph for one of its grey pictures. These numbers depend neither on it nor on the engine.
    """
    picture = Image.fromarray(pixels)
    colours = np.asarray(picture.reduce(2), np.float32).reshape(-1, 3)
    red, green, blue = (np.ascontiguousarray(colours[:, channel]) for channel in range(3))
    values = [channel.mean() for channel in (red, green, blue)]
    values += [channel.std() for channel in (red, green, blue)]
    values += [np.abs(channel - green).mean() for channel in (red, blue)]
    grey = picture.convert("L")
    values.append(np.asarray(grey, np.float32).std())
    for _ in range(_SCALES):
        brightness = np.asarray(grey, np.int16)
        values += [_mean_step(brightness, axis) for axis in (0, 1)]
        grey = grey.reduce(2)
    return np.log1p(np.array(values, np.float32))


def _mean_step(brightness: NDArray[np.int16], axis: int) -> float:
    """The mean absolute difference of neighbours; 0 if there are none."""
    if brightness.shape[axis] < 2:
        return 0.0
    return float(np.abs(np.diff(brightness, axis=axis)).mean(dtype=np.float32))
