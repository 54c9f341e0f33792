"""What the network and its artifacts say of the held-out pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgetl.data.folders import Example
from edgetl.pipeline.choosing import Chosen
from edgetl.pipeline.installed import versions
from edgetl.pipeline.kept import Kept
from edgetl.pipeline.models import torch_model
from edgetl.pipeline.opened import Job
from edgetl.pipeline.products import Product
from edgetl.pipeline.views import reader_of
from edgetl.quantize.needs import Needs
from edgetl.runtime.engine import Engine
from edgetl.verify.accuracy import Answers, Model, answer_all, one_by_one

TORCH = "torch"


class _Said(NamedTuple):
    """One model's answers as bytes: classes int64 [N], and logits float32 [N, C]."""

    truth: bytes
    logits: bytes
    skipped: int


def ask_all(
    job: Job, kept: Kept, products: Sequence[Product], engines: Mapping[str, Engine]
) -> Answers:
    """Show the held-out pictures to the torch model and to every artifact, by name.

    Who has answered them in an earlier export is not asked again.
    """
    spec, examples = job.facts.preprocess, job.chosen.held_out.examples
    models: dict[str, Model] = {TORCH: torch_model(job.network, spec)}
    models |= {name: _batch_model(engine) for name, engine in engines.items()}
    keys = {TORCH: "said-torch"} | {p.name: f"said-{p.digest[:32]}" for p in products}
    known: dict[str, _Said] = {
        name: said for name, key in keys.items() if (said := kept.find(key, _Said))
    }
    missing = {name: model for name, model in models.items() if name not in known}
    if missing:
        read = reader_of(job.chosen.held_out.part)
        answers = answer_all(missing, examples, spec, job.progress, stage="measuring", read=read)
        for name, said in answers.logits.items():
            known[name] = _Said(answers.truth.tobytes(), said.tobytes(), answers.skipped)
            kept.keep(keys[name], known[name])
    truth = np.frombuffer(known[TORCH].truth, np.int64)
    logits = {
        name: np.frombuffer(known[name].logits, np.float32).reshape(len(truth), -1)
        for name in models
    }
    return Answers(truth, logits, known[TORCH].skipped)


def kept_of(job: Job, needs: Needs) -> Kept:
    """What earlier exports have made of this network, by the same pictures and libraries."""
    chosen = job.chosen
    pictures = [_identity(e.path, e.label) for part in _parts(chosen) for e in part]
    lengths = [len(part) for part in _parts(chosen)]
    parts = (chosen.held_out.part, chosen.trial_part)
    decided_by = (job.facts, needs, versions(), parts, lengths, pictures)
    return Kept(decided_by, job.progress)


def _parts(chosen: Chosen) -> tuple[Sequence[Example], ...]:
    return chosen.held_out.examples, chosen.calibration, chosen.tuning, chosen.trial


def _identity(path: Path, label: int) -> tuple[str, int, int, int]:
    """A picture as far as its folder tells: size 0 where it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return str(path), label, 0, 0
    return str(path), label, facts.st_size, facts.st_mtime_ns


def _batch_model(engine: Engine) -> Model:
    return one_by_one(lambda picture: engine(picture[np.newaxis])[0].copy())
