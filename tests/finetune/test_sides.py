import pytest

pytest.importorskip("torch")

from edgetl.core.recipe import FineTune
from edgetl.finetune.sides import training_side


@pytest.mark.parametrize(
    ("full_px", "settings", "sides_px"),
    [
        (224, {}, [224] * 5),
        (224, {"train_size": 0.82}, [192] * 5),
        (224, {"first_size_px": 128}, [128, 160, 192, 224, 224]),
        (224, {"first_size_px": 128, "train_size": 0.82}, [128, 160, 160, 192, 192]),
        (224, {"first_size_px": 256, "train_size": 0.82}, [192] * 5),
        (224, {"first_size_px": 64, "train_size": 0.25}, [96] * 5),  # no smaller than it takes
        (80, {"first_size_px": 64, "train_size": 0.5}, [80] * 5),
        (299, {}, [299] * 5),
        (299, {"first_size_px": 128, "train_size": 0.82}, [139, 171, 203, 235, 235]),
    ],
)
def test_training_pictures_grow_to_their_part_of_the_networks_side(
    full_px: int, settings: dict[str, float], sides_px: list[int]
) -> None:
    tuned = FineTune(epochs=5, **settings)
    assert [training_side(tuned, full_px, 75, epoch) for epoch in range(5)] == sides_px


def test_training_pictures_are_halved_as_whole_ones_are() -> None:
    def odd_halves(side_px: int) -> list[bool]:
        halves = [side_px]
        while len(halves) < 5:
            halves.append(-(-halves[-1] // 2))
        return [half % 2 == 1 for half in halves]

    tuned = FineTune(epochs=9, first_size_px=96, train_size=0.82)
    for full_px in range(128, 300):
        for epoch in range(9):
            side_px = training_side(tuned, full_px, 32, epoch)
            assert odd_halves(side_px) == odd_halves(full_px)
