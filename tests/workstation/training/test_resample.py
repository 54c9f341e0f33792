import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from edgetl.workstation.training.resample import crop_and_resize, resize_weights  # noqa: E402


def noise(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def cropped(picture: np.ndarray, box: tuple[float, ...], side: int) -> np.ndarray:
    """uint8 [side, side, 3] of one picture."""
    pixels = torch.from_numpy(picture)[None]
    planes = crop_and_resize(pixels, torch.tensor([box]), side)
    assert torch.equal(planes, planes.round())
    return planes[0].permute(1, 2, 0).byte().numpy()


def as_pillow(picture: np.ndarray, box: tuple[float, ...], side: int) -> np.ndarray:
    left, top, width, height = box
    image = Image.fromarray(picture)
    corners = (left, top, left + width, top + height)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=corners))


@pytest.mark.parametrize(
    ("source_px", "box", "side"),
    [
        (96, (0.0, 0.0, 96.0, 96.0), 32),  # three pixels become one
        (41, (0.0, 0.0, 41.0, 41.0), 32),
        (20, (0.0, 0.0, 20.0, 20.0), 32),  # enlarged, as pictures smaller than the network are
        (64, (7.25, 20.5, 30.0, 40.75), 24),
        (64, (30.0, 1.5, 20.0, 21.5), 32),
    ],
)
def test_a_crop_has_the_pixels_that_pillow_makes_of_it(source_px, box, side) -> None:
    picture = noise(source_px)
    difference = cropped(picture, box, side).astype(int) - as_pillow(picture, box, side)
    # Pillow rounds between the axes as well.
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.3


def test_a_picture_that_has_the_size_already_is_unchanged_bit_for_bit() -> None:
    picture = noise(32)
    assert np.array_equal(cropped(picture, (0.0, 0.0, 32.0, 32.0), 32), picture)


def test_negative_lengths_mirror_the_crop() -> None:
    picture, box = noise(40), (3.0, 5.0, 30.0, 32.0)
    plain = cropped(picture, box, 16)
    assert np.array_equal(cropped(picture, (33.0, 5.0, -30.0, 32.0), 16), plain[:, ::-1])
    assert np.array_equal(cropped(picture, (3.0, 37.0, 30.0, -32.0), 16), plain[::-1])


def test_each_picture_of_a_batch_has_its_own_box() -> None:
    pixels = torch.from_numpy(np.stack([noise(40, 1), noise(40, 2)]))
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [4.0, 6.0, 20.0, 22.0]])
    together = crop_and_resize(pixels, boxes, 16)
    for i in range(2):
        assert torch.equal(
            together[i : i + 1], crop_and_resize(pixels[i : i + 1], boxes[i : i + 1], 16)
        )


def test_weights_are_means() -> None:
    weights = resize_weights(torch.tensor([0.0, 3.5]), torch.tensor([50.0, -2.0]), 50, 20)
    assert weights.shape == (2, 20, 50)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 20))
