import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.scoring import batches_of, evaluate_network  # noqa: E402
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.tiny import made, recipe, tiny_network  # noqa: E402


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluation_scores_what_the_network_says(precision: str) -> None:
    network = tiny_network()
    torch.nn.init.zeros_(network.head().weight)
    with torch.no_grad():
        network.head().bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    compute = Compute(recipe(f"precision={precision}"))
    result = evaluate_network(network.model, made(), PLAIN, compute, exact=True)
    assert result.logits.tolist() == [[0.0, 1.0, 0.0]] * 12
    assert result.logits.dtype == np.float32
    assert result.top1 == pytest.approx(1 / 3)
    assert result.loss == pytest.approx(np.log(2 + np.e) - 1 / 3, abs=1e-5)


def test_one_logit_is_scored_as_two_classes() -> None:
    network = tiny_network(1)
    torch.nn.init.zeros_(network.head().weight)
    torch.nn.init.constant_(network.head().bias, 2.0)
    pictures = made()
    pictures.labels = np.arange(12) % 2
    result = evaluate_network(network.model, pictures, PLAIN, Compute(recipe()), exact=True)
    assert result.logits.tolist() == [[0.0, 2.0]] * 12
    assert result.top1 == 0.5


def test_batches_are_even_and_in_order() -> None:
    assert [len(batch) for batch in batches_of(70, 32)] == [24, 23, 23]
    assert np.concatenate(batches_of(70, 32)).tolist() == list(range(70))
    assert [batch.tolist() for batch in batches_of(1, 32)] == [[0]]
