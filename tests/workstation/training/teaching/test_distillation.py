"""The student's loss: against values computed by hand, and in the steps that it decides."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgetl.bundle.reports import TeacherFacts  # noqa: E402
from edgetl.workstation.recipe import Augment, Distil, FineTune, Recipe  # noqa: E402
from edgetl.workstation.training.batch_loss import MixedBatch  # noqa: E402
from edgetl.workstation.training.compute import Compute  # noqa: E402
from edgetl.workstation.training.loss import Objective  # noqa: E402
from edgetl.workstation.training.mixup import Mix  # noqa: E402
from edgetl.workstation.training.pixel_cache import PixelSet  # noqa: E402
from edgetl.workstation.training.random_draws import Draws, draw  # noqa: E402
from edgetl.workstation.training.resume import Best, read_state  # noqa: E402
from edgetl.workstation.training.setup import Taught  # noqa: E402
from edgetl.workstation.training.teaching.distillation import feature_loss, soft_loss  # noqa: E402
from edgetl.workstation.training.teaching.teacher import FoundTeacher, Teacher  # noqa: E402
from edgetl.workstation.training.trainer import Trainer  # noqa: E402
from edgetl.workstation.training.training_pixels import TrainingPictures  # noqa: E402
from tests.making import PLAIN  # noqa: E402
from tests.workstation.training.test_step import host_operations  # noqa: E402
from tests.workstation.training.tiny import (  # noqa: E402
    made,
    recipe,
    same,
    setup_of,
    tiny_network,
    train_all,
    weights,
)

FACTS = TeacherFacts(source="run", backbone="resnet18", sha256="0", top1=0.9)
CPU = torch.device("cpu")
# The teacher has another size and another normalisation than the student.
OTHER = msgspec.structs.replace(PLAIN, size_px=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def found(seed: int = 9) -> FoundTeacher:
    network = tiny_network(seed=seed)
    with torch.no_grad():
        network.head().weight.mul_(20)  # so that it has opinions
    return FoundTeacher(network, OTHER, FACTS, needs_probe=False)


def with_unlabelled(pictures: PixelSet, count: int) -> TrainingPictures:
    """The pictures, and behind them others without labels."""
    more = made(len(pictures) + count).pixels[len(pictures) :]
    labels = np.concatenate([pictures.labels, np.full(count, -1)])
    return TrainingPictures(*2 * [PixelSet(np.concatenate([pictures.pixels, more]), labels)])


def taught(wanted: Recipe, teacher: FoundTeacher, unlabelled: int = 0, **more: Any) -> Trainer:
    setup = setup_of(wanted, **more)
    pictures = with_unlabelled(setup.train.whole, unlabelled) if unlabelled else setup.train
    setup = setup._replace(
        taught=Taught(Teacher(teacher, setup.spec, setup.compute), FACTS, pictures)
    )
    return Trainer(setup, wanted.augmentation)


def test_soft_loss_is_the_divergence_times_the_squared_temperature() -> None:
    logits, teacher = torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    # At temperature 2 both rows' logits differ by 1 or 0: p = 1 / (1 + e^-1) for the larger one.
    p = 1 / (1 + math.exp(-1))
    row = p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p)
    assert float(soft_loss(logits, teacher, 2.0)) == pytest.approx(4 * (row + 0) / 2)
    assert float(soft_loss(teacher, teacher, 3.0)) == pytest.approx(0, abs=1e-6)


def test_feature_loss_is_one_minus_the_cosine() -> None:
    ours = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    theirs = torch.tensor([[5.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    assert float(feature_loss(ours, theirs)) == pytest.approx(1 - (1 - 1 + math.sqrt(0.5)) / 3)


def test_targets_without_a_label_add_nothing_to_the_labels_loss() -> None:
    settings = FineTune(label_smoothing=0.1, imbalance="none")
    objective = Objective(np.array([0, 1, 1]), 3, settings, CPU)
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    draws, mix = draw(3, Augment(), 0, CPU), Mix(Augment(), 3)
    _, targets = mix(torch.zeros(3, 3, 2, 2), torch.tensor([0, -1, 1]), draws)
    assert targets[1].tolist() == [0, 0, 0]
    wanted = torch.nn.functional.cross_entropy(
        logits[[0, 2]], torch.tensor([0, 1]), label_smoothing=0.1
    )
    assert float(objective(logits, targets)) * 3 / 2 == pytest.approx(float(wanted))


def test_the_teacher_sees_the_students_view_in_its_own_size_and_normalisation() -> None:
    teacher, compute = found(), Compute(recipe(), "cpu")
    flat = torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    seen: list[torch.Tensor] = []
    teacher.network.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    answer = Teacher(teacher, PLAIN, compute)((flat - 0.5) / 0.5)
    wanted = [(0.25 - 0.4) / 0.2, (0.5 - 0.5) / 0.25, (0.75 - 0.6) / 0.3]
    assert seen[0].shape == (2, 3, 40, 40)
    assert seen[0][0, :, 7, 7].tolist() == pytest.approx(wanted, abs=1e-5)
    assert not answer.logits.requires_grad
    assert (answer.logits.shape, answer.features.shape) == ((2, 3), (2, 8))


def test_the_teacher_gets_the_same_views_with_the_detail_of_its_own_size() -> None:
    wanted = recipe("augment=strong", "augment.rand_augment=0", "augment.flip=any")
    teacher = found()
    teacher = teacher._replace(spec=msgspec.structs.replace(OTHER, size_px=64))
    setup = setup_of(wanted)
    # Smooth enough for 32 px, but for a fine grain that only 64 px can show.
    waves = torch.arange(64) / 64 * 2 * math.pi
    smooth = 110 + 60 * torch.sin(waves)[:, None] + 40 * torch.cos(waves)[None]
    grain = 30 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2 - 1)
    fine = (smooth + grain).byte().numpy()[None, :, :, None].repeat(len(setup.train), 0)
    pictures = PixelSet(np.ascontiguousarray(fine.repeat(3, 3)), setup.train.labels)
    setup = setup._replace(train=TrainingPictures(setup.train.whole, pictures))
    compute = Compute(wanted, "cpu")
    answering = Taught(Teacher(teacher, PLAIN, compute), FACTS, setup.train)
    it = Trainer(setup._replace(taught=answering), wanted.augmentation)
    step = it.machine.step
    inputs = it.machine.batches.inputs(it._begin(0)[0])
    batch = step._mixed(inputs, Draws(inputs.numbers))
    assert batch.for_teacher is not None
    assert batch.for_teacher.shape[2:] == (64, 64)
    reduced = torch.nn.functional.interpolate(
        batch.for_teacher, size=(32, 32), mode="bilinear", antialias=True
    )
    assert float((reduced - batch.pictures).abs().mean()) < 0.1 * float(batch.pictures.std())
    others = reduced.roll(1, 0)  # another picture's crop, colours and mix
    assert float((others - batch.pictures).abs().mean()) > 0.3 * float(batch.pictures.std())
    enlarged = torch.nn.functional.interpolate(batch.pictures, size=(64, 64), mode="bilinear")
    assert float((batch.for_teacher - enlarged).std()) > 0.1


@pytest.mark.parametrize("settings", [("augment.rand_augment=9",), ()])
def test_the_teacher_answers_on_the_students_batch_where_it_can_have_no_other(
    settings: tuple[str, ...],
) -> None:
    teacher = found()
    if not settings:
        teacher = teacher._replace(spec=msgspec.structs.replace(OTHER, size_px=PLAIN.size_px))
    it = taught(recipe(*settings), teacher)
    inputs = it.machine.batches.inputs(it._begin(0)[0])
    assert it.machine.batches.teacher_batch(inputs.pictures, Draws(inputs.numbers)) is None


def test_a_part_of_a_batch_has_every_nth_row_of_everything() -> None:
    rows = torch.arange(7.0)
    part = MixedBatch(rows, rows + 10, 4, rows + 20).part(1, 3)
    assert part.pictures.tolist() == [1, 4]
    assert part.targets.tolist() == [11, 14]
    assert part.own == 1  # of rows 0 to 3
    assert part.for_teacher is not None
    assert part.for_teacher.tolist() == [21, 24]


def test_a_teacher_changes_what_is_learned_and_not_itself() -> None:
    wanted = recipe("finetune.backbone_rate=1e-2", "finetune.head_rate=1e-2")
    teacher = found()
    before = weights(teacher.network)
    alone, under = Trainer(setup_of(wanted), wanted.augmentation), taught(wanted, teacher)
    start = weights(alone.network)
    for it in (alone, under):
        train_all(it)
    assert same(weights(teacher.network), before)
    assert not teacher.network.model.training
    assert not same(weights(alone.network), start)
    assert not same(weights(alone.network), weights(under.network))


def test_a_student_of_the_teachers_loss_alone_comes_to_agree_with_it() -> None:
    wanted = recipe(
        "finetune.backbone_rate=2e-2", "finetune.head_rate=2e-2", "finetune.epochs=12",
        "distil.weight=1", "augment=none",
    )  # fmt: skip
    it = taught(wanted, found(), unlabelled=6)
    losses = [end.loss for end in train_all(it)]
    assert losses[-1] < losses[0] / 2


def test_an_unlabelled_picture_contributes_the_teachers_loss_alone() -> None:
    """In a batch of one labelled picture and one without: by hand, from both networks' logits."""
    settings = ("finetune.batch=2", "augment=none", "distil.weight=0.25", "distil.temperature=3")
    it = taught(recipe(*settings, "finetune.label_smoothing=0"), found(), unlabelled=12)
    part = it._begin(0)[0]
    inputs = it.machine.batches.inputs(part)
    assert sorted(inputs.labels.tolist())[0] == -1
    assert sorted(inputs.labels.tolist())[1] >= 0
    still = draw(2, it.augment, 0, CPU)
    batch = it.machine.batches.batch(inputs.pictures, still)
    it.network.model.train()
    logits = it.network.model(batch).detach()
    known = inputs.labels >= 0
    labels = torch.nn.functional.cross_entropy(logits[known], inputs.labels[known])
    answer = it.setup.taught.teacher(it.machine.batches.teacher_batch(inputs.pictures, still))
    wanted = 0.75 * labels + 0.25 * soft_loss(logits, answer.logits, 3.0)
    assert float(it.machine.step.take(inputs)) == pytest.approx(float(wanted), rel=1e-4)


def test_a_batch_in_parts_has_the_same_loss() -> None:
    it = taught(recipe("augment=none", "finetune.norms=frozen"), found(), unlabelled=30)
    inputs = it.machine.batches.inputs(it._begin(0)[0])
    start = weights(it.network)
    whole = float(it.machine.step(inputs))
    it.network.model.load_state_dict(start)
    it.machine.step.at_once = 2
    assert float(it.machine.step(inputs)) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    "more",
    [(), ("distil.features=1", "augment.mixup=0.2", "augment.cutmix=1"), ("precision=bf16",)],
)
def test_a_step_under_a_teacher_never_needs_the_host(more: tuple[str, ...]) -> None:
    assert host_operations(taught(recipe(*more), found(), unlabelled=12)) == []


def test_the_projection_of_features_learns_and_is_resumed(tmp_path: Path) -> None:
    wanted = recipe("distil.features=1", "finetune.head_rate=1e-2")
    it = taught(wanted, found())
    start = it._loss.beside.weight.detach().clone()
    train_all(it)
    trained = it._loss.beside.weight
    assert not torch.equal(trained, start)
    assert "projection" not in " ".join(it.network.model.state_dict())
    it.state(tmp_path / "resume.pt", Best()).write()
    setup = setup_of(wanted)
    setup = setup._replace(
        taught=Taught(Teacher(found(), setup.spec, setup.compute), FACTS, setup.train)
    )
    resumed = Trainer(setup, wanted.augmentation, read_state(tmp_path / "resume.pt", CPU))
    assert torch.equal(resumed._loss.beside.weight, trained)


def test_a_teacher_without_a_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="weight or features above 0"):
        Distil(weight=0)
