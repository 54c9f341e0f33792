"""What a picture looks like, in numbers."""

import numpy as np
import pytest

from edgetl.runtime.appearance import APPEARANCE_VALUES, appearance

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (64, 64, 3), np.uint8)
# Where the values are: means, deviations, colour differences, contrast, steps from fine to coarse.
MEANS, COLOURS, CONTRAST, STEPS = slice(0, 3), slice(6, 8), 8, slice(9, 17)


def values(pixels: np.ndarray) -> np.ndarray:
    return np.expm1(appearance(pixels))


def test_a_flat_picture_has_a_colour_and_nothing_else() -> None:
    flat = np.broadcast_to(np.array([200, 100, 50], np.uint8), (32, 32, 3)).copy()
    found = values(flat)
    np.testing.assert_allclose(found[MEANS], [200, 100, 50], rtol=1e-4)
    np.testing.assert_allclose(found[COLOURS], [100, 50], rtol=1e-4)
    np.testing.assert_allclose(found[[3, 4, 5, CONTRAST, *range(9, 17)]], 0, atol=1e-4)


def test_grey_noise_has_no_colours_and_more_steps_at_its_own_scale() -> None:
    grey = np.repeat(NOISE[..., :1], 3, axis=2)
    found = values(grey)
    np.testing.assert_allclose(found[COLOURS], 0, atol=1e-4)
    steps = found[STEPS].reshape(4, 2)
    assert (steps[:-1] > steps[1:]).all()
    assert steps[0] == pytest.approx([85, 85], rel=0.1)  # a third of the range


def test_stripes_have_steps_in_one_direction() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    down, across = values(stripes)[STEPS][:2]
    assert (down, across) == (0, pytest.approx(255, rel=1e-4))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_picture_of_any_size_has_finite_values(size: int) -> None:
    found = appearance(NOISE[:size, :size])
    assert found.shape == (APPEARANCE_VALUES,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
