"""Pictures degraded as by a cheap camera in bad light."""

import msgspec
import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.recipe import PRESETS, STILL, Augment  # noqa: E402
from edgetl.workstation.training.degrade import Degrade  # noqa: E402
from edgetl.workstation.training.random_draws import Draws, draw  # noqa: E402

CPU = torch.device("cpu")
SIDE = 64
# Just below the share, so that a picture gets the strongest degradation.
SHARE, STRONGEST = 0.5, 0.4999999


def degraded(batch: torch.Tensor, augment: Augment, **numbers: float | list[float]) -> torch.Tensor:
    """Degrade with known random numbers; those not given leave a picture as it is."""
    draws = draw(len(batch), augment, 0, CPU)
    for purpose in ("blur", "darken", "colour_cast", "noise"):
        draws[purpose][:] = torch.as_tensor(numbers.get(purpose, 0.99))
    for purpose in ("warm", "noise_place"):
        draws[purpose][:] = torch.as_tensor(numbers.get(purpose, 0.0))
    return Degrade(augment, CPU, batch.shape[-1])(batch, draws)


def only(**shares: float) -> Augment:
    return msgspec.structs.replace(STILL, **shares)


def test_pictures_whose_number_is_above_the_share_stay_as_they_are() -> None:
    batch = torch.rand(2, 3, SIDE, SIDE)
    everything = only(blur=SHARE, darken=SHARE, colour_cast=SHARE, noise=SHARE)
    torch.testing.assert_close(degraded(batch, everything), batch)
    torch.testing.assert_close(
        degraded(batch, everything, noise=[STRONGEST, 0.99], blur=[0.3, 0.99])[1], batch[1]
    )


def test_the_strongest_darkness_takes_three_stops_of_light() -> None:
    grey = torch.full((1, 3, SIDE, SIDE), 0.8)
    light = degraded(grey, only(darken=SHARE), darken=STRONGEST) ** 2.2
    torch.testing.assert_close(light, grey**2.2 / 8, rtol=1e-4, atol=1e-4)
    half = degraded(grey, only(darken=SHARE), darken=SHARE / 3) ** 2.2
    torch.testing.assert_close(half, grey**2.2 / 2, rtol=1e-4, atol=1e-4)


def test_a_cast_is_warm_or_cold_and_leaves_green() -> None:
    grey = torch.full((2, 3, SIDE, SIDE), 0.4)
    cast = degraded(grey, only(colour_cast=SHARE), colour_cast=STRONGEST, warm=[0.2, 0.8])
    red, green, blue = cast[:, :, 0, 0].T
    torch.testing.assert_close(green, torch.tensor([0.4, 0.4]))
    gain = 2 ** (0.7 / 2.2)
    torch.testing.assert_close(red, torch.tensor([0.4 * gain, 0.4 / gain]))
    torch.testing.assert_close(blue, torch.tensor([0.4 / gain, 0.4 * gain]))


def test_blur_keeps_the_mean_and_spreads_a_point_as_a_gaussian() -> None:
    point = torch.zeros(1, 3, SIDE, SIDE)
    point[:, :, 32, 32] = 1.0
    blurred = degraded(point, only(blur=SHARE), blur=STRONGEST)
    sigma = 0.015 * SIDE
    torch.testing.assert_close(blurred.sum(), torch.tensor(3.0), rtol=1e-3, atol=0)
    row = blurred[0, 0, 32]
    torch.testing.assert_close(
        row[33] / row[32], torch.exp(torch.tensor(-0.5 / sigma**2)), rtol=1e-3, atol=0
    )
    assert torch.equal(blurred[0, 0], blurred[0, 0].T)


def test_noise_has_the_drawn_strength_and_differs_between_places() -> None:
    grey = torch.full((2, 3, SIDE, SIDE), 0.5)
    noisy = degraded(grey, only(noise=SHARE), noise=SHARE / 2, noise_place=[0.1, 0.7])
    deviations = (noisy - grey).std((1, 2, 3))
    torch.testing.assert_close(deviations, torch.tensor([0.1, 0.1]), rtol=0.03, atol=0)
    assert not torch.equal(noisy[0], noisy[1])
    again = degraded(grey, only(noise=SHARE), noise=SHARE / 2, noise_place=[0.1, 0.7])
    assert torch.equal(noisy, again)


def test_other_random_numbers_do_not_depend_on_whether_pictures_are_degraded() -> None:
    plain = draw(8, Augment(), 3, CPU).numbers
    robust = draw(8, PRESETS["robust"], 3, CPU)
    assert torch.equal(robust.numbers[:, : plain.shape[1]], plain)
    assert isinstance(robust, Draws)
    assert 0 <= float(robust["noise_place"].min()) < float(robust["noise_place"].max()) < 1
