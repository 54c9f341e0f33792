import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgetl.backbones.checkpoint import Checkpoint, read_facts  # noqa: E402
from edgetl.finetune.compute import Compute  # noqa: E402
from edgetl.finetune.learning import Learning  # noqa: E402
from edgetl.finetune.loop import Trainer  # noqa: E402
from edgetl.finetune.scoring import Evaluation  # noqa: E402
from tests.finetune.tiny import made, recipe, same, tiny_network, weights  # noqa: E402
from tests.making import KINDS, PLAIN, Remarks, inside  # noqa: E402

FACTS = Checkpoint(
    backbone="resnet18",
    labels=KINDS,
    preprocess=PLAIN,
    weights="none",
    training_images=12,
    val_top1=0.0,
    test_top1=None,
    sha256="",
    finished=False,
)


class Scripted(Trainer):
    """Trains for real; how good it is after the probe and each epoch is given."""

    def __init__(self, scores: list[float] | None, *more: str) -> None:
        wanted = recipe(f"finetune.epochs={len(scores or [0] * 4) - 1}", *more)
        self.said = Remarks()
        val = made(3) if scores else None
        super().__init__(tiny_network(), made(), val, PLAIN, wanted, Compute(wanted), self.said)
        self._scores = scores
        self.states: list[dict[str, torch.Tensor]] = []

    def validate(self) -> Evaluation | None:
        self.states.append(weights(self.network))
        if self._scores is None:
            return super().validate()
        top1 = self._scores[len(self.states) - 1]
        return Evaluation(1 - top1, top1, np.zeros((3, 3), np.float32))


def run(trainer: Scripted, out: Path):
    history = Learning(trainer, FACTS, out, trainer.said).run([], resume=False)
    kept = safetensors.torch.load_file(out / "checkpoint.safetensors")
    (epoch,) = [i for i, state in enumerate(trainer.states) if same(kept, state)]
    return epoch, history


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.5, 0.6, 0.9, 0.7], 2),
        ([0.9, 0.6, 0.8, 0.7], 0),  # the probe
        ([0.1, 0.6, 0.6, 0.5], 2),  # of equals the later
        ([0.0, 0.0, 0.0, 0.0], 3),
    ],
)
def test_the_best_epoch_is_kept(scores: list[float], best: int, tmp_path: Path) -> None:
    trainer = Scripted(scores)
    epoch, _ = run(trainer, tmp_path)
    assert epoch == best
    assert read_facts(tmp_path).val_top1 == scores[best]
    assert not read_facts(tmp_path).finished
    assert trainer.said.said[-1].endswith(f"val top-1 {scores[-1]:.1%}, best {max(scores):.1%}")


@pytest.mark.parametrize(
    ("scores", "stopped_after"),
    [
        ([0.5, 0.6, 0.4, 0.4, 0.9], 3),
        ([0.9, 0.4, 0.4, 0.9, 0.9], 2),
        ([0.5, 0.8, 0.8, 0.8, 0.9], 3),  # as good is not better
        ([0.1, 0.2, 0.2, 0.3, 0.3], 4),  # it never waited so long
    ],
)
def test_training_stops_when_nothing_has_got_better(
    scores: list[float], stopped_after: int, tmp_path: Path
) -> None:
    trainer = Scripted(scores, "finetune.stop_after=2")
    epoch, _ = run(trainer, tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, stopped_after + 1))
    assert scores[epoch] == max(scores[: stopped_after + 1])
    stopped = trainer.said.said[-1] == "stopped: nothing better in 2 epochs"
    assert stopped is (stopped_after < 4)


def test_without_a_validation_part_the_last_epoch_is_kept_and_nothing_is_claimed(
    tmp_path: Path,
) -> None:
    trainer = Scripted(None, "finetune.stop_after=1")
    epoch, history = run(trainer, tmp_path)
    assert epoch == 3
    assert read_facts(tmp_path).val_top1 is None
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["val_loss"] is json.loads(line)["val_top1"] is None
    assert not any("best" in said or "top-1" in said or "%" in said for said in trainer.said.said)
    history.end({})
    assert "curves.png" in inside(tmp_path)


def test_every_epoch_leaves_a_state_to_resume_from(tmp_path: Path) -> None:
    trainer = Scripted([0.5, 0.6, 0.6, 0.4])
    run(trainer, tmp_path)
    fresh = Scripted([0.0] * 4)
    assert fresh.load_state(tmp_path / "resume.pt") == (0.6, 2, 1)
    assert fresh.epochs_done == 3
    assert same(weights(fresh.network), trainer.states[-1])
