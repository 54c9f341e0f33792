from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from edgetl.core.errors import DataError
from edgetl.data.fingerprints import (
    HASH_BYTES,
    NEAR_BITS,
    Fingerprint,
    dct_hash,
    fingerprint,
    groups_of,
)
from tests.making import draw


def distance(one: Fingerprint, other: Fingerprint) -> int:
    pair = np.frombuffer(one.perceptual_hash + other.perceptual_hash, np.uint8).reshape(
        2, HASH_BYTES
    )
    return int(np.unpackbits(pair[0] ^ pair[1]).sum())


def scene(seed: int) -> Image.Image:
    """Soft blobs of colour, with detail at every scale, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (n, n, 3), np.uint8)).resize((320, 240), 3), float
        )
        * weight
        for n, weight in ((3, 0.5), (8, 0.3), (24, 0.2))
    ]
    return Image.fromarray(np.sum(layers, axis=0).astype(np.uint8))


def saved(image: Image.Image, path: Path, **options: object) -> Fingerprint:
    image.save(path, **options)
    return fingerprint(path)


def test_the_hash_is_the_sign_of_low_dct_coefficients_about_their_median(rng) -> None:
    fft = pytest.importorskip("scipy.fft")
    grey = rng.uniform(0, 255, (32, 32))
    low = fft.dctn(grey, type=2)[:16, :16].ravel()[1:]
    assert dct_hash(grey) == np.packbits(low > np.median(low)).tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_saved_again_stays_near_and_another_does_not(seed: int, tmp_path: Path) -> None:
    image = scene(seed)
    original = saved(image, tmp_path / "a.png")
    again = [
        saved(image, tmp_path / "b.jpg", quality=50),
        saved(image.resize((160, 120)), tmp_path / "c.jpg"),
        saved(image.convert("L"), tmp_path / "d.png"),
        saved(ImageEnhance.Brightness(image).enhance(1.2), tmp_path / "e.png"),
    ]
    assert max(distance(original, other) for other in again) <= NEAR_BITS
    other = saved(scene(seed + 100), tmp_path / "f.png")
    assert distance(original, other) > 2 * NEAR_BITS


def test_a_fingerprint_tells_size_mode_turn_and_contrast(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(draw("slope", 0, 80, 60).convert("CMYK"), tmp_path / "a.jpg", exif=exif)
    assert turned.header == (80, 60, "CMYK", 6)
    assert turned.size_bytes == (tmp_path / "a.jpg").stat().st_size
    assert turned.contrast > 10
    flat = saved(Image.new("L", (50, 40), 90), tmp_path / "b.png")
    assert (flat.header, flat.contrast) == ((50, 40, "L", 1), 0.0)


def test_a_picture_is_hashed_upright(tmp_path: Path) -> None:
    image = scene(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = saved(image, tmp_path / "a.png")
    stored_turned = image.transpose(Image.Transpose.ROTATE_90)
    assert distance(upright, saved(stored_turned, tmp_path / "b.png", exif=exif)) == 0
    assert distance(upright, saved(stored_turned, tmp_path / "c.png")) > NEAR_BITS


def test_a_truncated_picture_has_no_fingerprint(tmp_path: Path) -> None:
    scene(0).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        fingerprint(tmp_path / "a.jpg")


def flipped(seen: np.ndarray, bits: int) -> np.ndarray:
    copy = np.unpackbits(seen)
    copy[:bits] ^= 1
    return np.packbits(copy)


def test_groups_hold_what_is_within_the_limit_and_nothing_beyond_it(rng) -> None:
    base = rng.integers(0, 256, (3, HASH_BYTES), np.uint8)
    seen = np.stack(
        [base[0], base[1], flipped(base[0], 10), base[2], flipped(base[1], 11), base[0]]
    )
    assert groups_of(seen, 10) == [[0, 2, 5]]
    assert groups_of(seen, 11) == [[0, 2, 5], [1, 4]]
    assert groups_of(seen, 0) == [[0, 5]]


def test_a_burst_is_one_group_from_end_to_end(rng) -> None:
    first = rng.integers(0, 256, HASH_BYTES, np.uint8)
    burst = np.stack([flipped(first, 8 * i) for i in range(6)])
    assert groups_of(burst[rng.permutation(6)], 8) == [list(range(6))]


def test_groups_are_found_across_blocks_and_agree_with_comparing_each_pair(
    rng, monkeypatch
) -> None:
    monkeypatch.setattr("edgetl.data.fingerprints._BLOCK", 16)
    base = rng.integers(0, 256, (40, HASH_BYTES), np.uint8)
    seen = np.stack([flipped(base[rng.integers(40)], int(rng.integers(20))) for _ in range(150)])
    apart = np.unpackbits(seen[:, None] ^ seen[None], axis=2).sum(axis=2)
    near = apart <= 6
    for _ in range(150):  # reachability by repeated widening
        near = near @ near
    expected = {tuple(np.flatnonzero(row)) for row in near if row.sum() > 1}
    assert {tuple(group) for group in groups_of(seen, 6)} == expected
    assert len(expected) > 10


def test_thousands_of_pictures_all_alike_are_one_group(rng) -> None:
    alike = rng.integers(0, 2, (5000, HASH_BYTES), np.uint8)
    assert groups_of(alike) == [list(range(5000))]


def test_no_pictures_have_no_groups() -> None:
    assert groups_of(np.empty((0, HASH_BYTES), np.uint8)) == []
