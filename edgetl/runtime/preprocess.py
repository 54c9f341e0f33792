"""Picture file -> uint8 pixels, with Pillow and numpy only.

Validation, calibration, parity checks and the device all use this code, so the device's network
gets exactly the bytes that the workstation measured with.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError

Pixels = NDArray[np.uint8]
Picture = str | Path | bytes | BinaryIO | Image.Image

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# What Pillow's codecs raise for damaged files; struct.error comes from altered EXIF data,
# RuntimeError from AVIF and DDS.
_NOT_READABLE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error,
)  # fmt: skip


class Header(NamedTuple):
    """The properties of a picture that are known before its pixels are decoded.

    Attributes:
        width_px, height_px: as stored, before the EXIF orientation is applied.
        mode: Pillow's name of the pixel format, e.g. "RGB", "L", "CMYK", "I;16".
        orientation: the EXIF orientation, 1 (upright, or not given) to 8.
    """

    width_px: int
    height_px: int
    mode: str
    orientation: int


class PictureLimits(NamedTuple):
    """What to accept of pictures that come from strangers.

    Attributes:
        max_pixels: width times height, as stored.
        formats: Pillow's names. It can read many more, some through other programs (EPS runs
            Ghostscript), which is not for a picture from a stranger.
    """

    max_pixels: int
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


def load_pixels(picture: Picture, spec: Preprocess) -> Pixels:
    """Decode, resize and crop a picture to the network's input: uint8 RGB [size_px, size_px, 3].

    Raises DataError if it is missing, damaged, empty, or too large to decode safely.
    """
    return prepare(decode(picture, spec.resize_px), spec)


def decode(
    picture: Picture, short_side_px: int, *, limits: PictureLimits | None = None
) -> Image.Image:
    """Decode the first frame to upright 8-bit RGB.

    The codec itself decodes a much larger JPEG at 1/2, 1/4 or 1/8 of its size, which is several
    times faster; its short side stays at least `short_side_px`. Raises DataError as `load_pixels`,
    and for a picture that is beyond the limits.
    """
    with _read_errors_as_data_error(picture):
        image = _open(picture, limits.formats if limits else None)
        if limits:
            _check_size(picture, image, limits.max_pixels)
        _draft(image, short_side_px)
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


def read_header(picture: str | Path) -> Header:
    """Read a file's header without decoding its pixels. Raises DataError as `decode` does."""
    with _read_errors_as_data_error(picture), Image.open(picture) as image:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        return Header(image.width, image.height, image.mode, orientation)


def prepare(image: Image.Image, spec: Preprocess) -> Pixels:
    """Resize the short side of an upright RGB image, antialiased, and crop its centre.

    Returns uint8 [size_px, size_px, 3]. Only the cropped part is resampled, which gives the same
    pixels with less work.
    """
    width, height = image.size
    # Multiplying before dividing keeps the side exact if nothing is cropped: Pillow rejects a box
    # that exceeds the image by even a rounding error.
    side = min(width, height) * spec.size_px / spec.resize_px
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    size = (spec.size_px, spec.size_px)
    return np.asarray(image.resize(size, _FILTERS[spec.resize], box=box))


@contextmanager
def _read_errors_as_data_error(picture: Picture) -> Iterator[None]:
    """Turn what Pillow raises for an unreadable picture into a DataError that names it."""
    name = _name_of(picture)
    try:
        yield
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name} has too many pixels to decode safely: {error}",
            hint="scale the picture down first.",
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist.") from error
    except _NOT_READABLE as error:
        raise DataError(
            f"{name} cannot be read as a picture: {_reason(picture, error)}.",
            hint="check that the file is whole; JPEG, PNG, WebP, BMP, GIF and TIFF work.",
        ) from error


def _open(picture: Picture, formats: tuple[str, ...] | None) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.copy()
    if isinstance(picture, bytes):
        return Image.open(io.BytesIO(picture), formats=formats)
    return Image.open(picture, formats=formats)


def _check_size(picture: Picture, image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise DataError(
            f"{_name_of(picture)} has {image.width} x {image.height} pixels, more than the limit "
            f"of {max_pixels / 1e6:g} megapixels.",
            hint="scale the picture down first.",
        )


def _draft(image: Image.Image, short_side_px: int) -> None:
    """Ask the JPEG codec for the smallest scale that keeps the short side long enough."""
    shrink = min(image.size) / short_side_px
    if shrink > 1:
        image.draft(None, (int(image.width / shrink), int(image.height / shrink)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16 bits per pixel; Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "P":  # via RGBA: direct conversion is wrong with transparency
        image = image.convert("RGBA")
    return image.convert("RGB")


def _name_of(picture: Picture) -> str:
    return f"'{picture}'" if isinstance(picture, str | Path) else "the picture"


def _reason(picture: Picture, error: Exception) -> str:
    if isinstance(picture, str | Path):
        path = Path(picture)
        if path.is_dir():
            return "it is a folder"
        if path.is_file() and path.stat().st_size == 0:
            return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "no known picture format"
    return str(error).rstrip(".") or type(error).__name__
