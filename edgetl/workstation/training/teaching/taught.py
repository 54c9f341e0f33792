"""What a run's teacher is made of before the first step: its probe, its record, its pictures."""

from edgetl.data.split import Parts
from edgetl.workstation.training.setup import Taught, TrainingSetup
from edgetl.workstation.training.teaching.probe import fit_probe
from edgetl.workstation.training.teaching.teacher import FoundTeacher, Teacher
from edgetl.workstation.training.training_pixels import TrainingPictures


def with_teacher(
    setup: TrainingSetup, found: FoundTeacher, parts: Parts, pictures: TrainingPictures
) -> TrainingSetup:
    """The setup of a run under a teacher, whose head is fitted first if it needs that.

    Args:
        setup: of the run; what taught it is recorded in its decisions.
        found: the teacher.
        parts: the run's readable pictures.
        pictures: the same, decoded: those with labels, then those without.
    """
    recipe, compute = setup.recipe, setup.compute
    if found.needs_probe:
        found = fit_probe(found, parts, recipe, compute, setup.progress)
    facts, distil = found.facts, recipe.distil
    top1 = "not tested" if facts.top1 is None else f"test top-1 {facts.top1:.1%}"
    probed = ", a linear probe on frozen features" if facts.probed else ""
    setup.decisions.add(
        "teacher",
        f"{facts.backbone}, {facts.source}",
        f"{top1}{probed}; sha256 {facts.sha256}; share of the loss {distil.weight:g}",
    )
    if len(pictures) > len(setup.train):
        setup.decisions.add(
            "pictures without labels",
            str(len(pictures) - len(setup.train)),
            f"the teacher labels them, beside {len(setup.train):,} labelled ones",
        )
    teacher = Teacher(found, setup.spec, compute)
    return setup._replace(taught=Taught(teacher, facts, pictures))
