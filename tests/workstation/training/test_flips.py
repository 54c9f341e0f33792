"""Whether pictures have an up is asked of the pictures."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.core.progress import Silent  # noqa: E402
from edgetl.workstation.recipe import Recipe, override  # noqa: E402
from edgetl.workstation.training.augment import BatchAugment  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.flips import find_flips  # noqa: E402
from edgetl.workstation.training.linear_probe import cached_features  # noqa: E402
from edgetl.workstation.training.pixel_cache import PixelSet  # noqa: E402
from edgetl.workstation.training.preparation import with_flip  # noqa: E402
from edgetl.workstation.training.random_draws import draw  # noqa: E402
from edgetl.workstation.training.resume import Best  # noqa: E402
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.tiny import TinyNet, recipe, setup_of, tiny_network, trainer  # noqa: E402

PROBED = override(Recipe(), ["precision=fp32"])
COMPUTE = Compute(PROBED, "cpu")


def lit(where: str, count: int = 300) -> PixelSet:
    """Class 1 is brighter than class 0: all over, at the top, or in the left and right quarters."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (count, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(count) // 3 % 2
    lighter = pixels[labels == 1]
    darker = pixels[labels == 0]
    if where == "all over":
        lighter += 120
    elif where == "top":
        lighter[:, :16] += 120
        darker[:, 16:] += 120
    else:
        lighter[:, :, :8] += 120
        lighter[:, :, 24:] += 120
        darker[:, :8] += 120
        darker[:, 24:] += 120
    pixels[labels == 1], pixels[labels == 0] = lighter, darker
    return PixelSet(pixels, labels)


class Corners(TinyNet):
    """Features that know where the light is: the mean of each quarter of the picture's side."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.mean((1, 3)).unflatten(1, (4, -1)).mean(2)
        columns = x.mean((1, 2)).unflatten(1, (4, -1)).mean(2)
        return self.fc(torch.cat([rows, columns], 1))


@pytest.mark.parametrize(
    ("where", "flips"), [("all over", "any"), ("top", "horizontal"), ("sides", "both")]
)
def test_pictures_are_turned_as_far_as_the_probe_does_not_mind(where: str, flips: str) -> None:
    network = tiny_network(2)._replace(model=Corners(2))
    train = lit(where)
    seen = cached_features(network, train, PLAIN, COMPUTE, Silent())
    found = find_flips(setup_of(PROBED, network, train=train), seen, torch.ones(2))
    assert found.flips == flips
    assert found.why.startswith("the probe knows ")


def test_too_few_pictures_tell_nothing() -> None:
    network = tiny_network(2)
    train = lit("all over", 240)  # a fifth of which is 48
    seen = cached_features(network, train, PLAIN, COMPUTE, Silent())
    found = find_flips(setup_of(PROBED, network, train=train), seen, torch.ones(2))
    assert found.flips == "horizontal"


def test_any_shows_a_corner_in_all_eight_ways() -> None:
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, :8, :8] = 255  # a bright corner
    picture[:, :4, 8:16] = 255  # longer one way than the other
    augment = Recipe().augmentation
    still = override(Recipe(augment=augment), ["augment=none", "augment.flip=any"]).augmentation
    batch = torch.from_numpy(picture.repeat(64, 0))
    cpu = torch.device("cpu")
    shown = BatchAugment(still, PLAIN, cpu)(batch, draw(64, still, 0, cpu))
    assert len({row.round(decimals=3).numpy().tobytes() for row in shown}) == 8


def test_a_run_without_a_probe_shows_pictures_mirrored_left_to_right() -> None:
    wanted = recipe("probe.enabled=false", "augment.flip=auto")
    going = trainer(wanted, prepared=True)
    assert going.augment.flip == "auto"  # nothing was measured


def test_a_resumed_run_goes_on_with_what_was_found(tmp_path: Path) -> None:
    wanted = recipe("augment.flip=auto", "finetune.epochs=1")
    one = trainer(wanted)
    one.augment = with_flip(one.augment, "both")
    one.state(tmp_path / "state", Best(0.5, 0.75, 1, 1)).write()
    assert trainer(wanted, state=tmp_path / "state").augment.flip == "both"
