"""Train a network plainly and adapted to pictures of another place, and keep the better one."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.core.errors import EdgetlError
from edgetl.core.files import write_text
from edgetl.core.progress import Progress
from edgetl.core.schema import from_yaml, read_document, to_json, to_yaml
from edgetl.data.folders import Example, Unreadable
from edgetl.data.split import SPLITS_FILE, Parts, Unlabelled, describe
from edgetl.evaluation.metrics import top1_interval
from edgetl.evaluation.temperature import fit_temperature
from edgetl.runtime.softmax import softmax
from edgetl.workstation.backbones.checkpoint import (
    FACTS_FILE,
    load_checkpoint,
    read_facts,
    save_facts,
    save_tensors,
)
from edgetl.workstation.recipe import RECIPE_FILE, Recipe
from edgetl.workstation.run_folder import (
    ADAPTATION_FILE,
    CANDIDATES_FOLDER,
    require_same,
    run_state,
)
from edgetl.workstation.training.adaptation.criterion import information
from edgetl.workstation.training.adaptation.record import AdaptationReport, CandidateScore, Name
from edgetl.workstation.training.adaptation.target import Target
from edgetl.workstation.training.batch_norm import recalibrate_batch_norm
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decoded_parts import PixelParts, decode_parts
from edgetl.workstation.training.pixel_cache import decode_all
from edgetl.workstation.training.run import Outcome, measure, score_run, train_run
from edgetl.workstation.training.scoring import evaluate_network


class Candidates:
    """The networks to choose from, each in a run folder of its own below `out`.

    Args:
        recipe: what each is trained by; its section `adapt` says in which ways.
        parts: the labelled pictures.
        base: the folder of their pictures.
        out: the run folder.
        target: the pictures to adapt to.
        loggers, device: as in `train_run`.
        progress: where to show how far it is.
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        base: Path,
        out: Path,
        target: Target,
        *,
        loggers: tuple[str, ...],
        device: str,
        progress: Progress,
    ) -> None:
        self._recipe, self._parts, self._base, self._out = recipe, parts, base, out
        self._target, self._loggers, self._device = target, loggers, device
        self._progress, self._compute = progress, Compute(recipe, device)
        method = recipe.adapt.method
        self._names: list[Name] = ["plain"]
        self._names += ["batch-norm", "coral", "adversarial"] if method == "auto" else [method]
        if recipe.finetune.epochs == 0 and method == "auto":  # nothing trains
            self._names = ["plain", "batch-norm"]
        if recipe.finetune.epochs == 0 and method in ("coral", "adversarial"):
            raise EdgetlError(
                f"adapt.method={method} trains, and the recipe has no epochs.",
                hint="train for --epochs 1 or more, or use adapt.method=batch-norm.",
            )

    def run(self) -> Outcome:
        """Train what is not finished yet, choose, and make the choice the run.

        Raises EdgetlError as `train_run` does, and if what is there was begun with another recipe
        or other pictures.
        """
        began = time.monotonic()
        for name in self._names:
            self._require_same(name)
        unreadable: dict[Path, Unreadable] = {}
        for name in self._names:
            if run_state(self._folder(name)) != "finished":
                self._progress.say(f"candidate: {name}")
                outcome = self._make(name)
                unreadable |= {each.path: each for each in outcome.unreadable}
        pixels, _, _ = self._decoded()
        for name in self._names[1:]:
            self._calibrate(name, pixels)
        report = self._report(tuple(self._score(name) for name in self._names))
        picked = self._folder(report.picked)
        facts = read_facts(picked)
        outcome = score_run(picked, pixels, self._compute, list(unreadable.values()))
        # The facts are last: with them, the run counts as finished.
        shutil.copytree(
            picked, self._out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FACTS_FILE)
        )
        write_text(self._out / ADAPTATION_FILE, to_json(report))
        save_facts(self._out, facts)
        return outcome._replace(
            run=self._out,
            checkpoint=facts,
            seconds=time.monotonic() - began,
            adaptation=report,
        )

    def _folder(self, name: Name) -> Path:
        return self._out / CANDIDATES_FOLDER / name

    def _require_same(self, name: Name) -> None:
        run = self._folder(name)
        if run_state(run) != "new":
            recipe, parts = self._recipe_of(name), self._parts_of(name)
            require_same(run, recipe, describe(parts, self._base, []), self._base)

    def _recipe_of(self, name: Name) -> Recipe:
        if name == "plain":
            return self._recipe
        settings = msgspec.structs.replace(self._recipe.adapt, method=name)
        return msgspec.structs.replace(self._recipe, adapt=settings)

    def _parts_of(self, name: Name) -> Parts:
        if name == "plain":
            return self._parts
        learned = Unlabelled(self._target.source, self._target.learn)
        return self._parts._replace(unlabelled=(learned,))

    def _make(self, name: Name) -> Outcome:
        if name == "batch-norm":
            return self._with_norms_of_target()
        run = self._folder(name)
        return train_run(
            self._recipe_of(name),
            self._parts_of(name),
            self._base,
            run,
            self._progress,
            resume=run_state(run) == "interrupted",
            loggers=self._loggers,
            device=self._device,
            adapts=name != "plain",
        )

    def _with_norms_of_target(self) -> Outcome:
        """The plain network with batch-norm statistics of the pictures to adapt to."""
        plain, finished = self._folder("plain"), self._folder("batch-norm")
        run = finished.with_name(f".{finished.name}.partial")
        network, facts = load_checkpoint(plain)
        if not any(isinstance(module, _BatchNorm) for module in network.model.modules()):
            raise EdgetlError(
                f"{facts.backbone} has no batch norm whose statistics could be re-estimated.",
                hint="--set adapt.method=coral or adversarial.",
            )
        self._compute.place(network.model)
        network.model.train()
        examples = [Example(path, 0) for path in self._target.learn]
        pictures, _, _ = decode_all(
            examples, facts.preprocess, self._progress, stage="decoding, to adapt to"
        )
        recalibrate_batch_norm(
            network, pictures, facts.preprocess, self._compute, seed=self._recipe.seed
        )
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(plain, run)
        pixels, readable, unreadable = self._decoded()
        parts = self._parts_of("batch-norm")._replace(
            train=readable.train, val=readable.val, test=readable.test
        )
        skipped = [each.path for each in unreadable]
        write_text(run / SPLITS_FILE, to_json(describe(parts, self._base, skipped)))
        recipe = from_yaml(read_document(run / RECIPE_FILE), Recipe, where=f"'{run}'")
        recipe = msgspec.structs.replace(recipe, adapt=self._recipe_of("batch-norm").adapt)
        write_text(run / RECIPE_FILE, to_yaml(recipe))
        sha256 = save_tensors(run, network)
        save_facts(run, msgspec.structs.replace(facts, sha256=sha256, finished=False))
        outcome = measure(run, pixels, self._compute, unreadable)
        run.rename(finished)  # whole or not there
        return outcome

    def _calibrate(self, name: Name, pixels: PixelParts) -> None:
        """Fit an adapted network's temperature, under the labelled pictures' own statistics.

        Normalised by the other place's, the network is wrong about these pictures, and a
        temperature that is fitted to its mistakes would make it doubt everything there.
        """
        run = self._folder(name)
        network, facts = load_checkpoint(run)
        held_out = pixels.val or pixels.test
        if not held_out:
            return
        self._compute.place(network.model)
        network.model.train()
        recalibrate_batch_norm(
            network, pixels.train.whole, facts.preprocess, self._compute, seed=self._recipe.seed
        )
        seen = evaluate_network(
            network.model, held_out, facts.preprocess, self._compute, exact=True
        )
        temperature = fit_temperature(held_out.labels, seen.logits)
        save_facts(run, msgspec.structs.replace(facts, temperature=temperature))

    def _decoded(self) -> tuple[PixelParts, Parts, list[Unreadable]]:
        facts = read_facts(self._folder("plain"))
        return decode_parts(self._parts, facts.preprocess, self._recipe, self._progress)

    def _score(self, name: Name) -> CandidateScore:
        network, facts = load_checkpoint(self._folder(name))
        self._compute.place(network.model)

        def logits(examples: Sequence[Example]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            pictures, _, _ = decode_all(
                examples, facts.preprocess, self._progress, stage="decoding, to judge by"
            )
            seen = evaluate_network(
                network.model, pictures, facts.preprocess, self._compute, exact=True
            )
            return seen.logits, pictures.labels

        judged, _ = logits([Example(path, 0) for path in self._target.judge])
        top1 = interval = None
        if self._target.check:
            checked, truth = logits(self._target.check)
            right = checked.argmax(1) == truth
            top1, interval = float(right.mean()), top1_interval(right)
        return CandidateScore(
            name=name,
            test_top1=facts.test_top1,
            information=information(judged, facts.temperature),
            confidence=float(softmax(judged, facts.temperature).max(1).mean()),
            target_top1=top1,
            target_interval=interval,
        )

    def _report(self, scores: tuple[CandidateScore, ...]) -> AdaptationReport:
        target = self._target
        return AdaptationReport(
            source=str(target.source),
            learned_from=len(target.learn),
            judged_on=len(target.judge),
            held_apart=target.learn != target.judge,
            check=str(target.check_source) if target.check_source else None,
            picked=max(scores, key=lambda score: score.information).name,
            candidates=scores,
        )
