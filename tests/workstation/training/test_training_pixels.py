from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from edgetl.bundle.preprocessing import Preprocess  # noqa: E402
from edgetl.core.errors import DataError  # noqa: E402
from edgetl.core.progress import Silent  # noqa: E402
from edgetl.data.folders import Example  # noqa: E402
from edgetl.runtime.preprocess import load_pixels  # noqa: E402
from edgetl.workstation.recipe import STILL, Augment, load_recipe  # noqa: E402
from edgetl.workstation.training.augment import BatchAugment, plain_batch  # noqa: E402
from edgetl.workstation.training.random_draws import draw  # noqa: E402
from edgetl.workstation.training.training_pixels import decode_training, fine_spec  # noqa: E402

SPEC = Preprocess(size_px=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CPU = torch.device("cpu")
TIGHT = Augment(min_area=0.25, stretch=1.0)


def written(folder: Path, sides: list[int], kind: str = "png") -> list[Example]:
    """Pictures of fine texture, a little wider than high."""
    examples = []
    for number, side in enumerate(sides):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side + 6, 3), np.uint8)
        path = folder / f"{number}.{kind}"
        Image.fromarray(pixels).save(path)
        examples.append(Example(path, number % 2))
    return examples


@pytest.mark.parametrize(
    ("sides", "augment", "fine_px"),
    [
        ([500] * 4, TIGHT, 128),  # twice the network's side
        ([500] * 4, Augment(min_area=0.9), 128),  # one size for all recipes, one cache
        ([100] * 4, TIGHT, 100),  # their own pixels, resampled once
        ([40] * 4, TIGHT, 40),  # smaller than the network's side, where the device enlarges too
        ([40, *[100] * 10], TIGHT, 100),
        ([500] * 4, STILL, 64),
    ],
)
def test_crops_are_taken_from_pixels_as_fine_as_they_need_or_the_pictures_have(
    tmp_path, sides, augment, fine_px: int
) -> None:
    assert fine_spec(written(tmp_path, sides), SPEC, augment).size_px == fine_px


@pytest.mark.parametrize(("teacher_px", "fine_px"), [(100, 128), (200, 200), (999, 300)])
def test_crops_have_the_detail_that_a_teacher_sees_if_the_pictures_have_it(
    tmp_path, teacher_px: int, fine_px: int
) -> None:
    assert fine_spec(written(tmp_path, [300]), SPEC, TIGHT, teacher_px).size_px == fine_px


def test_whole_pictures_are_the_devices_own_bit_for_bit(tmp_path) -> None:
    examples = written(tmp_path, [80, 100, 50])
    pictures, kept, unreadable = decode_training(examples, SPEC, TIGHT, Silent())
    assert (kept, unreadable) == (examples, [])
    everyone = np.arange(3)
    expected = np.stack([load_pixels(example.path, SPEC) for example in examples])
    assert np.array_equal(pictures.whole.tensor(everyone, CPU).numpy(), expected)
    assert pictures.fine.labels.tolist() == pictures.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("flip", ["none", "both"])
def test_training_without_crops_sees_what_the_device_sees(tmp_path, flip: str) -> None:
    examples = written(tmp_path, [80, 100, 50])
    augment = Augment(
        min_area=1.0, stretch=1.0, flip=flip, brightness=0.0, contrast=0.0, saturation=0.0
    )
    pictures, _, _ = decode_training(examples, SPEC, augment, Silent())
    rows = pictures.fine.tensor(np.arange(3), CPU)
    seen = BatchAugment(augment, SPEC, CPU)(rows, draw(3, augment, 0, CPU))
    device = plain_batch(rows, SPEC)
    turned = [device, device.flip(3), device.flip(2), device.flip(2, 3)]
    for number in range(3):
        matches = [torch.equal(seen[number], way[number]) for way in turned]
        assert any(matches)
        assert flip == "both" or matches[0]


def sharpness(batch: torch.Tensor) -> float:
    """The share of a batch's variance in the upper half of the frequencies of either axis."""
    spectrum = torch.fft.rfft2(batch - batch.mean((2, 3), keepdim=True)).abs().square()
    rows, columns = spectrum.shape[2:]
    upper = torch.zeros(rows, columns, dtype=torch.bool)
    upper[rows // 4 : -(rows // 4)] = True
    upper[:, columns // 2 :] = True
    return float(spectrum[..., upper].sum() / spectrum.sum())


@pytest.mark.parametrize("side", [150, 300])
def test_training_crops_are_as_sharp_as_the_devices_pictures(tmp_path, side: int) -> None:
    examples = written(tmp_path, [side] * 8)
    augment = load_recipe("edge-default").augmentation
    pictures, _, _ = decode_training(examples, SPEC, augment, Silent())
    rows = pictures.fine.tensor(np.arange(8), CPU)
    crops = BatchAugment(augment, SPEC, CPU)(rows, draw(8, augment, 0, CPU))
    device = plain_batch(pictures.whole.tensor(np.arange(8), CPU), SPEC)
    ratio = sharpness(crops) / sharpness(device)
    assert 0.88 < ratio < 1.1
    # Crops of rows that are hardly larger than the network's side are not.
    blurred = BatchAugment(augment, SPEC, CPU)(plain_rows(examples, 72), draw(8, augment, 0, CPU))
    assert sharpness(blurred) / sharpness(device) < 0.75


def plain_rows(examples: list[Example], size_px: int) -> torch.Tensor:
    spec = Preprocess(size_px=size_px, mean=SPEC.mean, std=SPEC.std)
    return torch.from_numpy(np.stack([load_pixels(example.path, spec) for example in examples]))


def test_an_unreadable_picture_is_set_aside_once(tmp_path) -> None:
    examples = written(tmp_path, [80, 80, 80])
    examples[1].path.write_bytes(b"no picture")
    pictures, kept, unreadable = decode_training(examples, SPEC, TIGHT, Silent())
    assert kept == [examples[0], examples[2]]
    assert [item.path for item in unreadable] == [examples[1].path]
    assert len(pictures) == len(pictures.fine) == 2


def test_pictures_that_change_while_they_are_read_are_an_error(tmp_path, monkeypatch) -> None:
    from edgetl.workstation.training import training_pixels as training_pictures

    examples = written(tmp_path, [80, 80])

    def gone(*arguments: object) -> Preprocess:
        examples[0].path.write_bytes(b"cut off")
        return Preprocess(size_px=80, mean=SPEC.mean, std=SPEC.std)

    monkeypatch.setattr(training_pictures, "fine_spec", gone)
    with pytest.raises(DataError, match=r"0\.png' was changed while it was read"):
        decode_training(examples, SPEC, TIGHT, Silent())
