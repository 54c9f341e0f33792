import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgetl.workstation.backbones.checkpoint import Checkpoint, read_facts  # noqa: E402
from edgetl.workstation.training.checkpointing import CheckpointedTraining  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.decisions import Decisions  # noqa: E402
from edgetl.workstation.training.preparation import prepare  # noqa: E402
from edgetl.workstation.training.resume import ResumeState, read_state  # noqa: E402
from edgetl.workstation.training.scoring import Evaluation  # noqa: E402
from edgetl.workstation.training.setup import TrainingSetup  # noqa: E402
from edgetl.workstation.training.trainer import Trainer  # noqa: E402
from edgetl.workstation.training.training_pixels import TrainingPictures  # noqa: E402
from tests.making import KINDS, PLAIN, Remarks, inside  # noqa: E402
from tests.workstation.training.tiny import made, recipe, same, tiny_network, weights  # noqa: E402

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
    """Trains for real; what it loses after the probe and each epoch is given.

    The fewer it has right: top-1 alone would choose another epoch.
    """

    def __init__(self, losses: list[float] | None, *more: str) -> None:
        wanted = recipe(f"finetune.epochs={len(losses or [0] * 4) - 1}", *more)
        self.said = Remarks()
        val = made(3) if losses else None
        train = TrainingPictures(made(), made())
        setup = TrainingSetup(
            tiny_network(), train, val, PLAIN, wanted, Compute(wanted, "cpu"), self.said,
            Decisions(None, self.said),
        )  # fmt: skip
        super().__init__(setup, prepare(setup))
        self._losses = losses
        self.states: list[dict[str, torch.Tensor]] = []

    def validate(self) -> Evaluation | None:
        self.states.append(weights(self.network))
        if self._losses is None:
            return super().validate()
        loss = self._losses[len(self.states) - 1]
        return Evaluation(
            loss=1.0, top1=loss / 2, logits=np.zeros((3, 3), np.float32), calibrated_loss=loss
        )


def run(trainer: Scripted, out: Path):
    history = CheckpointedTraining(trainer, FACTS, out).run([])
    kept = safetensors.torch.load_file(out / "checkpoint.safetensors")
    (epoch,) = [i for i, state in enumerate(trainer.states) if same(kept, state)]
    return epoch, history


@pytest.mark.parametrize(
    ("losses", "best", "named"),
    [
        ([0.5, 0.4, 0.1, 0.3], 2, "epoch 2"),
        ([0.1, 0.4, 0.2, 0.3], 0, "the probe"),
        ([0.9, 0.4, 0.4, 0.5], 2, "epoch 2"),  # of equals the later
        ([1.0, 1.0, 1.0, 1.0], 3, "epoch 3"),
    ],
)
def test_the_epoch_with_the_least_calibrated_loss_is_kept(
    losses: list[float], best: int, named: str, tmp_path: Path
) -> None:
    trainer = Scripted(losses)
    epoch, _ = run(trainer, tmp_path)
    assert epoch == best
    assert read_facts(tmp_path).val_top1 == losses[best] / 2
    assert not read_facts(tmp_path).finished
    last = f"val loss {losses[-1]:.3f}, top-1 {losses[-1] / 2:.1%}, best: {named}"
    assert trainer.said.said[-1].endswith(last)


@pytest.mark.parametrize(
    ("losses", "stopped_after"),
    [
        ([0.5, 0.4, 0.6, 0.6, 0.1], 3),
        ([0.1, 0.6, 0.6, 0.1, 0.1], 2),
        ([0.5, 0.2, 0.2, 0.2, 0.1], 3),  # as good is not better
        ([0.9, 0.8, 0.8, 0.7, 0.7], 4),  # it never waited so long
    ],
)
def test_training_stops_when_nothing_has_got_better(
    losses: list[float], stopped_after: int, tmp_path: Path
) -> None:
    trainer = Scripted(losses, "finetune.stop_after=2")
    epoch, _ = run(trainer, tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, stopped_after + 1))
    assert losses[epoch] == min(losses[: stopped_after + 1])
    stopped = trainer.said.said[-1] == "stopped: nothing better in 2 epochs"
    assert stopped is (stopped_after < 4)


def test_a_loss_that_is_no_number_is_kept_until_there_is_a_better_one(tmp_path: Path) -> None:
    trainer = Scripted([math.nan, math.nan, 0.5, math.nan], "probe.enabled=false")
    epoch, _ = run(trainer, tmp_path)
    assert epoch == 2
    said = [line.rsplit(", ", 1)[1] for line in trainer.said.said if "best: " in line]
    assert said == ["best: epoch 1", "best: epoch 2", "best: epoch 2"]


def test_without_a_probe_the_network_it_began_with_is_called_the_start(tmp_path: Path) -> None:
    trainer = Scripted([0.1, 0.5], "probe.enabled=false")
    assert run(trainer, tmp_path)[0] == 0
    assert trainer.said.said[-1].endswith("best: the start")


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
    trainer = Scripted([0.5, 0.4, 0.4, 0.6])
    run(trainer, tmp_path)
    state = read_state(tmp_path / "resume.pt", torch.device("cpu"))
    assert state.best == (0.4, 0.2, 2, 1)
    fresh = Trainer(Scripted([0.0] * 4).setup, trainer.augment, state)
    assert fresh.epochs_done == 3
    assert same(weights(fresh.network), trainer.states[-1])


@pytest.mark.parametrize(("device", "saved"), [("cpu", [1, 2, 3, 4]), ("mps", [1, 4])])
def test_a_gpu_saves_short_epochs_only_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, saved: list[int]
) -> None:
    trainer = Scripted(None, "finetune.epochs=4")
    states: list[int] = []
    monkeypatch.setattr(ResumeState, "write", lambda state: states.append(state.epoch))
    training = CheckpointedTraining(trainer, FACTS, tmp_path)
    # Where it trains does not matter for this, only what it is taken for.
    monkeypatch.setattr(Compute, "gpu", property(lambda self: device != "cpu"))
    history = training.run([])
    assert states == saved
    assert [line.epoch for line in history.lines] == [1, 2, 3, 4]
    kept = safetensors.torch.load_file(tmp_path / "checkpoint.safetensors")
    assert same(kept, weights(trainer.averaged))  # the last one, whichever were saved
