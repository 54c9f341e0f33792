import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.core.recipe import Probe  # noqa: E402
from edgetl.finetune.compute import Compute  # noqa: E402
from edgetl.finetune.decisions import Decisions, read_decisions  # noqa: E402
from edgetl.finetune.feature_fit import probe_error, rate_for  # noqa: E402
from edgetl.finetune.loop import Trainer  # noqa: E402
from tests.finetune.tiny import NOTHING, made, recipe, tiny_network, trainer  # noqa: E402

CPU = Compute(recipe(), "cpu")


def error_of(seen: torch.Tensor, labels: np.ndarray, seed: int = 0) -> float:
    return probe_error(seen, labels, Probe(), torch.ones(2), CPU, seed)


def test_features_that_tell_the_classes_apart_have_no_error() -> None:
    labels = np.arange(40) % 2
    seen = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * 0.1
    seen[:, 0] += torch.from_numpy(labels) * 4.0
    assert error_of(seen, labels) == 0


def test_each_picture_is_answered_by_a_probe_that_was_not_fitted_to_it() -> None:
    # As many features as pictures: a probe knows all it was fitted to by heart, and no other.
    labels = np.random.default_rng(0).permutation(np.arange(60) % 2)
    seen = torch.randn(60, 80, generator=torch.Generator().manual_seed(0))
    assert 0.3 < error_of(seen, labels) < 0.7
    assert error_of(seen, labels) == error_of(seen, labels)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_handful_of_pictures_is_enough(count: int) -> None:
    labels = np.arange(count) % 2
    assert 0 <= error_of(torch.randn(count, 4), labels) <= 1


@pytest.mark.parametrize(
    ("error", "rate"),
    [(0.0, 3e-4), (0.05, 3e-4), (0.1, 3e-4), (0.2, 6e-4), (0.3, 9e-4), (0.5, 1e-3), (1.0, 1e-3)],
)
def test_the_worse_the_features_fit_the_faster_the_backbone_learns(error, rate) -> None:
    assert rate_for(error) == pytest.approx(rate)


def backbone_rate(it: Trainer) -> float:
    """Of the first group of parameters, the stem's, at its peak."""
    return float(it._optimizer.param_groups[0]["max_lr"])


def test_the_rate_is_decided_by_the_probe_and_kept_in_the_run(tmp_path) -> None:
    wanted = recipe("finetune.backbone_rate=auto", "probe.steps=20")
    it = Trainer(
        tiny_network(), trainer(wanted).train, None, trainer(wanted).spec, wanted, CPU,
        trainer(wanted)._progress, Decisions(tmp_path, trainer(wanted)._progress),
    )  # fmt: skip
    assert backbone_rate(it) == 3e-4  # as long as it is open
    it.start_head()
    (rate,) = [made for made in read_decisions(tmp_path) if made.name == "backbone rate"]
    assert 3e-4 <= backbone_rate(it) <= 1e-3
    assert rate.value == f"{backbone_rate(it):.1e}"
    assert it.recipe.finetune.backbone_rate == backbone_rate(it)


def test_a_resumed_run_goes_on_at_the_rate_that_was_decided(tmp_path) -> None:
    wanted = recipe("finetune.backbone_rate=auto", "finetune.epochs=2")
    one = trainer(wanted)
    one.start_head()
    next(one.epochs(lambda: NOTHING))
    one.save_state(tmp_path / "state", NOTHING)
    other = trainer(wanted, train=made())
    other.load_state(tmp_path / "state")
    assert backbone_rate(other) == backbone_rate(one)
    assert other.recipe == one.recipe


def test_without_a_probe_the_rate_is_the_least() -> None:
    it = trainer(recipe("finetune.backbone_rate=auto", "probe.enabled=false"))
    it.start_head()
    assert backbone_rate(it) == 3e-4
