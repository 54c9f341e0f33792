import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.bundle.preprocessing import Preprocess
from edgetl.core.errors import DataError
from edgetl.runtime.preprocess import (
    PictureLimits,
    decode,
    load_pixels,
    prepare,
    read_header,
)
from tests.making import PLAIN, draw, encoded

WORKS = "check that the file is whole; JPEG, PNG, WebP, BMP, GIF and TIFF work."
ORIENTATION = 0x0112


def spec(size_px: int, **more: object) -> Preprocess:
    return Preprocess(size_px=size_px, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **more)


def flat(mode: str, colour: object, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size, colour)


def refusal(picture: object) -> DataError:
    with pytest.raises(DataError) as caught:
        load_pixels(picture, PLAIN)
    return caught.value


def png(width: int, height: int, rows: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(flat("L", 90), "PNG"), (90, 90, 90)),
        (encoded(flat("1", 1), "PNG"), (255, 255, 255)),
        (encoded(flat("LA", (90, 10)), "PNG"), (90, 90, 90)),
        (encoded(flat("RGBA", (200, 30, 10, 0)), "PNG"), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "BMP"), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "PPM"), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "TIFF", compression="tiff_lzw"), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "WEBP", lossless=True), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)).quantize(4), "PNG"), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)).quantize(4), "PNG", transparency=0), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "GIF"), (200, 30, 10)),
        (encoded(flat("L", 90), "JPEG", quality=95), (90, 90, 90)),
        (encoded(flat("RGB", (200, 30, 10)), "JPEG", quality=95, subsampling=0), (200, 30, 10)),
        (encoded(flat("RGB", (200, 30, 10)), "JPEG", progressive=True, quality=95), (200, 30, 10)),
        (encoded(flat("CMYK", (55, 225, 245, 0)), "JPEG", quality=95), (200, 30, 10)),
        (encoded(Image.fromarray(np.full((30, 40), 0x5A80, np.uint16)), "PNG"), (90, 90, 90)),
        (encoded(Image.fromarray(np.full((30, 40), 0x5A80, np.uint16)), "TIFF"), (90, 90, 90)),
        (encoded(Image.fromarray(np.full((30, 40), 0xFFFF, np.uint16)), "PNG"), (255, 255, 255)),
    ],
    ids=[
        "grey", "black and white", "grey with alpha", "RGBA", "BMP", "PPM", "LZW TIFF", "WebP",
        "palette", "palette with transparency", "GIF", "grey JPEG", "JPEG", "progressive JPEG",
        "CMYK JPEG", "16-bit PNG", "16-bit TIFF", "white 16-bit PNG",
    ],
)  # fmt: skip
def test_every_kind_of_picture_becomes_rgb_of_its_own_colour(
    content: bytes, colour: tuple[int, int, int]
) -> None:
    pixels = load_pixels(content, PLAIN)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    assert np.abs(pixels.astype(int) - colour).max() <= 2


def test_sixteen_bit_colour_png_keeps_its_colour() -> None:
    rows = (b"\0" + struct.pack(">HHH", 0xC800, 0x1E00, 0x0A00) * 20) * 20
    pixels = load_pixels(png(20, 20, rows, depth=16, colour=2), PLAIN)
    assert pixels[0, 0].tolist() == [200, 30, 10]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [flat("RGB", (200, 30, 10)), flat("RGB", (10, 30, 200))]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert load_pixels(content, PLAIN)[16, 16].tolist() == [200, 30, 10]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_all_eight_exif_orientations_come_out_upright(orientation: int, kind: str) -> None:
    upright = flat("RGB", (20, 20, 20), (64, 64))
    upright.paste((240, 20, 20), (0, 0, 32, 32))
    upright.paste((20, 20, 240), (32, 0, 64, 32))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = load_pixels(encoded(stored, kind, exif=exif, quality=95), PLAIN).astype(int)
    assert np.abs(pixels[4, 4] - (240, 20, 20)).max() < 12
    assert np.abs(pixels[4, 28] - (20, 20, 240)).max() < 12
    assert np.abs(pixels[28, 4] - (20, 20, 20)).max() < 12


def test_a_rotated_photo_is_cropped_after_it_is_turned() -> None:
    tall = flat("RGB", (0, 0, 0), (30, 90))
    tall.paste((250, 250, 250), (0, 30, 30, 60))  # the middle, all that a centre crop keeps
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    lying = encoded(tall.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert decode(lying, 16).size == (30, 90)
    assert load_pixels(lying, spec(16)).mean() > 240


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (16, 16), (17, 4000)])
def test_tiny_and_extreme_shapes_give_the_same_size(size: tuple[int, int]) -> None:
    pixels = load_pixels(encoded(flat("RGB", (200, 30, 10), size), "PNG"), PLAIN)
    assert pixels.shape == (32, 32, 3)
    assert (pixels == (200, 30, 10)).all()


def test_the_centre_square_is_kept() -> None:
    wide = flat("RGB", (0, 0, 0), (96, 32))
    wide.paste((255, 255, 255), (32, 0, 64, 32))
    assert (load_pixels(wide, PLAIN) == 255).all()


@pytest.mark.parametrize("size_px", [224, 240, 299])
def test_no_short_side_makes_the_crop_stick_out_by_a_rounding_error(size_px: int) -> None:
    for side in range(16, 700):
        image = Image.new("L", (side, side + 1))
        assert prepare(image, spec(size_px)).shape == (size_px, size_px)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = draw("checks", 1, 32, 32)
    assert np.array_equal(load_pixels(picture, PLAIN), np.asarray(picture))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_resampling_only_the_kept_part_equals_resize_then_crop(resize: str, crop: float) -> None:
    picture = draw("checks", 2, 128, 128)
    wanted = spec(56, resize=resize, crop=crop)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    whole = picture.resize((wanted.resize_px, wanted.resize_px), filters[resize])
    edge = (wanted.resize_px - 56) // 2
    expected = np.asarray(whole.crop((edge, edge, edge + 56, edge + 56))).astype(int)
    # The filter's support reaches over the box's edge in one and not in the other.
    difference = np.abs(prepare(picture, wanted).astype(int) - expected)[2:-2, 2:-2]
    assert difference.max() <= 1


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = load_pixels(Image.fromarray(stripes), PLAIN)
    assert np.abs(pixels[:, 2:-2].astype(int) - 128).max() <= 3


@pytest.mark.parametrize("size", [(800, 600), (603, 901), (70, 64)])
def test_a_large_jpeg_decoded_at_reduced_scale_looks_the_same(size: tuple[int, int]) -> None:
    photo = draw("slope", 3, 12, 10).resize(size, Image.Resampling.BICUBIC)
    content = encoded(photo, "JPEG", quality=92)
    drafted = load_pixels(content, PLAIN).astype(int)
    whole = Image.open(io.BytesIO(content))
    whole.load()
    assert np.abs(drafted - prepare(whole, PLAIN)).mean() < 2
    assert np.abs(drafted - prepare(whole, PLAIN)).max() < 24


@pytest.mark.parametrize("size", [(800, 600), (603, 901), (255, 256), (257, 2000)])
def test_reduced_scale_never_falls_below_what_is_needed(size: tuple[int, int]) -> None:
    content = encoded(flat("RGB", (9, 9, 9), size), "JPEG")
    for short_side_px in (32, 100, 224):
        assert min(decode(content, short_side_px).size) >= min(short_side_px, *size)


def test_a_much_larger_jpeg_is_really_decoded_smaller() -> None:
    content = encoded(flat("RGB", (9, 9, 9), (1600, 1200)), "JPEG")
    assert decode(content, 150).size == (200, 150)


def test_a_path_text_bytes_file_and_image_give_identical_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    draw("stripes", 4, 60, 44).save(path, quality=90, exif=exif)
    expected = load_pixels(path, PLAIN)
    with path.open("rb") as file, Image.open(path) as image:
        others = [str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes()), image]
        for other in others:
            assert np.array_equal(load_pixels(other, PLAIN), expected), type(other)


def test_a_given_image_is_left_as_it_was() -> None:
    picture = draw("checks", 5)
    before = picture.tobytes()
    load_pixels(picture, PLAIN)
    assert (picture.mode, picture.size, picture.tobytes()) == ("RGB", (56, 48), before)


def test_a_missing_picture_says_so(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.jpg")
    assert str(error) == f"'{tmp_path / 'none.jpg'}' does not exist."


def test_an_empty_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    error = refusal(tmp_path / "empty.jpg")
    assert str(error) == (
        f"'{tmp_path / 'empty.jpg'}' cannot be read as a picture: the file is empty."
    )
    assert error.hint == WORKS


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    assert str(refusal(str(tmp_path))) == (
        f"'{tmp_path}' cannot be read as a picture: it is a folder."
    )


def test_text_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    assert str(refusal(tmp_path / "notes.jpg")) == (
        f"'{tmp_path / 'notes.jpg'}' cannot be read as a picture: no known picture format."
    )


def test_bytes_that_are_no_picture_are_not_printed() -> None:
    assert str(refusal(b"not a picture")) == (
        "the picture cannot be read as a picture: no known picture format."
    )


def test_a_jpeg_cut_short_is_refused(tmp_path: Path) -> None:
    content = encoded(draw("checks", 6, 200, 200), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    text = str(refusal(tmp_path / "cut.jpg"))
    assert text.startswith(f"'{tmp_path / 'cut.jpg'}' cannot be read as a picture: image file is ")
    assert "truncated" in text


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_other_kinds_cut_short_are_refused(kind: str) -> None:
    content = encoded(draw("checks", 6, 200, 200), kind)
    assert "cannot be read as a picture" in str(refusal(content[: len(content) // 2]))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(20_000, 20_000))
    error = refusal(tmp_path / "bomb.png")
    assert str(error).startswith(
        f"'{tmp_path / 'bomb.png'}' has too many pixels to decode safely: "
        "Image size (400000000 pixels) exceeds limit"
    )
    assert error.hint == "scale the picture down first."


def test_a_stranger_s_picture_is_refused_by_size_before_it_is_decoded() -> None:
    limits = PictureLimits(max_pixels=1_000_000)
    assert decode(encoded(flat("L", 90, (1000, 1000)), "PNG"), 32, limits=limits).size[0] == 1000
    with pytest.raises(DataError) as caught:
        decode(png(1000, 1001), 32, limits=limits)  # its rows are missing
    assert str(caught.value) == (
        "the picture has 1000 x 1001 pixels, more than the limit of 1 megapixels."
    )


def test_a_stranger_s_picture_is_not_handed_to_other_programs() -> None:
    limits = PictureLimits(max_pixels=1_000_000)
    postscript = encoded(flat("RGB", (200, 30, 10)), "EPS")
    with pytest.raises(DataError, match="no known picture format"):
        decode(postscript, 32, limits=limits)
    for kind in limits.formats:
        picture = encoded(flat("RGB", (200, 30, 10)), kind)
        assert decode(picture, 32, limits=limits).size == (40, 30)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_altered_pictures_are_read_or_refused_and_nothing_else(
    kind: str, rng: np.random.Generator
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = encoded(draw("checks", 7), kind, exif=exif)
    outcomes = []
    for _ in range(300):
        altered = bytearray(content)
        for place in rng.integers(0, min(len(content), 400), 3):
            altered[place] = rng.integers(256)
        try:
            outcomes.append(load_pixels(bytes(altered), PLAIN).shape)
        except DataError as error:
            outcomes.append(str(error)[:11])
    assert set(outcomes) <= {(32, 32, 3), "the picture"}
    assert "the picture" in outcomes


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_altered_exif_is_read_or_refused_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x011A] = 72.0
    content = encoded(draw("checks", 8), "JPEG", exif=exif)
    for place in range(min(len(content), 120)):
        altered = bytearray(content)
        altered[place] ^= 0x0F
        try:
            assert load_pixels(bytes(altered), PLAIN).shape == (32, 32, 3)
        except DataError as error:
            assert "cannot be read as a picture" in str(error)


def test_a_header_tells_what_is_stored_without_decoding(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    draw("slope", 0, 56, 48).convert("CMYK").save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    assert read_header(tmp_path / "a.jpg") == (56, 48, "CMYK", 6)
    assert read_header(tmp_path / "half.jpg") == (56, 48, "CMYK", 6)


def test_a_header_of_what_is_no_picture_is_the_same_error_as_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    for path in (tmp_path / "a.jpg", tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError) as by_header:
            read_header(path)
        with pytest.raises(DataError) as by_decoding:
            decode(path, 32)
        assert str(by_header.value) == str(by_decoding.value)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N", "I"])
def test_of_16_bits_the_upper_8_are_kept_in_every_order_of_bytes(mode: str) -> None:
    kind = {"I": np.int32, "I;16B": ">u2", "I;16N": np.uint16}.get(mode, "<u2")
    values = np.arange(65536).reshape(256, 256)
    if mode == "I":
        values = values * 1000 - 20_000_000
    image = Image.frombytes(mode, (256, 256), values.astype(kind).tobytes())
    expected = np.clip(values >> 8, 0, 255)
    assert np.array_equal(np.asarray(decode(image, 1))[..., 0], expected)


def test_16_bits_take_no_more_memory_than_a_few_copies() -> None:
    picture = encoded(Image.fromarray(np.full((1000, 1000), 777, np.uint16)), "PNG")
    tracemalloc.start()
    decode(picture, 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 1000 * 1000
