import pytest

pytest.importorskip("torch")

from edgetl.workstation.recipe import FineTune
from edgetl.workstation.training.progressive_resize import training_side


@pytest.mark.parametrize(
    ("full_px", "settings", "sides_px"),
    [
        (224, {}, [224] * 5),
        (224, {"train_size": 0.82}, [184] * 5),
        (224, {"first_size_px": 128}, [128, 160, 192, 224, 224]),
        (224, {"first_size_px": 128, "train_size": 0.82}, [128, 160, 160, 184, 184]),
        (224, {"first_size_px": 256, "train_size": 0.82}, [184] * 5),
        (224, {"first_size_px": 64, "train_size": 0.25}, [75] * 5),  # no smaller than it takes
        (80, {"first_size_px": 64, "train_size": 0.5}, [75] * 5),
        (299, {}, [299] * 5),
        (299, {"first_size_px": 128, "train_size": 0.82}, [128, 160, 192, 243, 243]),
    ],
)
def test_training_pictures_grow_to_their_part_of_the_networks_side(
    full_px: int, settings: dict[str, float], sides_px: list[int]
) -> None:
    tuned = FineTune(epochs=5, **settings)
    assert [training_side(tuned, full_px, 75, epoch) for epoch in range(5)] == sides_px
