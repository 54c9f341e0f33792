"""Generate a picture for counting instructions, in the machine: it is the same everywhere."""

import sys

import numpy as np
from PIL import Image

WIDTH_PX, HEIGHT_PX = 1280, 960
_BAND_PX = 96


def write_made_picture(path: str) -> None:
    """Write a JPEG as costly to decode as a photograph: gradients, edges and fixed grain."""
    # One band at a time, so that this takes little of the board's memory.
    pixels = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    x = np.arange(WIDTH_PX, dtype=np.uint32)
    for top in range(0, HEIGHT_PX, _BAND_PX):
        y = np.arange(top, top + _BAND_PX, dtype=np.uint32)[:, np.newaxis]
        grain = ((x * np.uint32(2654435761) + y * np.uint32(40503)) >> 7) % 23
        band = pixels[top : top + _BAND_PX]
        band[..., 0] = x * 180 // WIDTH_PX + grain
        band[..., 1] = y * 180 // HEIGHT_PX + grain + (x // 80 + y // 96) % 2 * 40
        band[..., 2] = (x + y) * 90 // WIDTH_PX + grain
    Image.fromarray(pixels).save(path, "JPEG", quality=90)


if __name__ == "__main__":
    write_made_picture(sys.argv[1])
