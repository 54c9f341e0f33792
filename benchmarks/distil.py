"""What a teacher is worth: a student with and without one, in float and in int8.

    python benchmarks/distil.py DATA [DATA ...] --results DIR [--image-size 128] [--seeds 1]
        [--teacher efficientnet_lite2] [--teacher-size PX] [--labels 0.1] [--set KEY=VALUE]

DATA is class folders, or train/ and val/ folders of them. A fifth of each set is measured on, or
the part it has for that; the seed decides which pictures. With --labels 0.1 a tenth of each class's
other pictures keep their labels: the teacher and the student alone learn from these, and the taught
student also from the others, as the teacher labels them (`finetune --unlabelled`). All networks are
exported for ONNX Runtime, and every figure is measured through it on the same test pictures.

Each finished network's answers are a JSON file in DIR, found again by a later call with the same
settings, pictures and seed; the same command goes on after Ctrl-C. A new commit does not make old
results stale: give each state of the code its own DIR.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from parts import FixedParts, at_most, fix_parts, link_parts
from spoken import Spoken, resumable
from suite_runs import head_commit
from suite_table import Difference, paired_difference

from edgetl.core.files import cache_folder, make_folder, write_text
from edgetl.core.progress import Silent
from edgetl.core.schema import to_json
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, read_split, resolve
from edgetl.data.unlabelled import content_names
from edgetl.evaluation.accuracy import one_by_one, predict_all
from edgetl.runtime.classifier import Classifier
from edgetl.workstation.export.export import export
from edgetl.workstation.recipe import Recipe, load_recipe, override
from edgetl.workstation.run_folder import run_state
from edgetl.workstation.training.finetune import finetune

# The share of each class that is measured on.
_HELD_OUT = 0.2
SCHEMES = ("fp32", "int8")
Result = dict[str, Any]


class Trial(NamedTuple):
    """A set's pictures for one seed, and what is trained on them.

    Attributes:
        root: has train/ and test/, and more/ if some pictures lose their labels.
        digest: of the names and sizes of all pictures, and the parts that they are in.
    """

    name: str
    seed: int
    root: Path
    digest: str
    teacher: Recipe
    student: Recipe
    work: Path
    results: Path

    def key(self, contender: str) -> str:
        """A name for one of its networks: other settings or pictures have another name."""
        recipes = [self.teacher] if contender == "teacher" else [self.teacher, self.student]
        recipes = [self.student] if contender == "alone" else recipes
        decided = "".join(to_json(recipe) for recipe in recipes) + self.digest
        digest = hashlib.sha256(decided.encode()).hexdigest()[:12]
        return f"{self.name}-s{self.seed}-{contender}-{digest}"

    def result(self, contender: str) -> Result:
        """The result of an earlier call, or else of a network that is trained now."""
        file = self.results / f"{self.key(contender)}.json"
        if not file.is_file():
            Spoken().say(f"{self.name}, seed {self.seed}: {contender}")
            result = {
                "set": self.name,
                "seed": self.seed,
                "contender": contender,
                "settings": json.loads(to_json(self.teacher if contender == "teacher"
                                               else self.student)),
                "edgetl_commit": head_commit(),
                "right": _measure(self._trained(contender), self.work),
            }  # fmt: skip
            make_folder(self.results)
            write_text(file, json.dumps(result) + "\n")
        return json.loads(file.read_text())

    def _trained(self, contender: str) -> Path:
        """The run of a network, trained as far as it is not yet."""
        run = self.work / "runs" / self.key(contender)
        state = run_state(run)
        if state == "finished":
            return run
        taught: dict[str, Any] = {}
        if contender == "taught":
            more = self.root / "more"
            taught = {
                "teacher": self._trained("teacher"),
                "unlabelled": [more] if more.is_dir() else [],
            }
        recipe = self.teacher if contender == "teacher" else self.student
        resume = state == "interrupted"
        finetune(self.root, run, recipe, resume=resume, progress=Spoken(), **taught)
        return run


def _measure(run: Path, work: Path) -> dict[str, dict[str, bool]]:
    """Whether each test picture is answered rightly, by its path, in float and in int8."""
    path = work / f"{run.name}.edgetl"
    bundle = export(run, path, formats=["onnx"], schemes=SCHEMES, max_drop_pp=100)
    models = {a.scheme: one_by_one(Classifier(bundle, artifact=f"onnx-{a.scheme}").logits)
              for a in bundle.manifest.artifacts}  # fmt: skip
    split = read_split(run / SPLITS_FILE)
    test = resolve(split, split.test)
    answers = predict_all(models, test, bundle.manifest.preprocess, Silent(), stage="measuring")
    path.unlink()
    names = [str(example.path.resolve()) for example in test]
    return {
        name: dict(zip(names, (answers.predicted(name) == answers.truth).tolist(), strict=True))
        for name in models
    }


def lay_out(data: Path, seed: int, labels: float, work: Path) -> tuple[Path, str]:
    """Folders of links to a set's pictures; returns their root and a digest of them.

    Pictures that lose their labels are in more/; copies of test pictures are left out of them.
    """
    parts = fix_parts(data, _HELD_OUT, seed)
    counts = np.bincount([e.label for e in parts.train], minlength=len(parts.labels))
    kept = [max(2, round(labels * count)) for count in counts.tolist()]
    train = at_most(parts.train, kept, seed) if labels < 1 else parts.train
    chosen = set(train)
    more = [example for example in parts.train if example not in chosen]
    contents = content_names(e.path for e in (*parts.test, *more))
    tested = {contents[e.path] for e in parts.test}
    more = [example for example in more if contents[example.path] not in tested]
    digest = _digest({"train": train, "test": parts.test, "more": more}, data)
    root = work / "parts" / f"{data.name}-s{seed}-{digest[:12]}"
    if not root.is_dir():
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        link_parts(FixedParts(parts.labels, train, parts.test), partial)
        for number, example in enumerate(more):
            (partial / "more").mkdir(exist_ok=True)
            link = partial / "more" / f"{number:06}{example.path.suffix}"
            link.symlink_to(example.path.resolve())
        partial.rename(root)  # whole or not there
    return root, digest


def _digest(parts: dict[str, Sequence[Example]], data: Path) -> str:
    lines = [
        f"{part} {example.label} {example.path.relative_to(data)} {example.path.stat().st_size}"
        for part, examples in parts.items()
        for example in examples
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make_trials(given: argparse.Namespace) -> Iterator[Trial]:
    """Every set with every seed, the sets' folders made."""
    work = given.work or cache_folder() / "distil"
    for data in given.data:
        for seed in range(given.seeds):
            root, digest = lay_out(data, seed, given.labels, work)
            shared = [f"seed={seed}", f"weights={given.weights}", *given.settings]
            basis = load_recipe(given.recipe)
            side = f"image_size_px={given.image_size}"
            larger = f"image_size_px={given.teacher_size or given.image_size}"
            teacher = override(basis, [f"backbone={given.teacher}", larger, *shared,
                                       *given.teacher_settings])  # fmt: skip
            student = override(basis, [f"backbone={given.student}", side, *shared])
            yield Trial(data.name, seed, root, digest, teacher, student, work, given.results)


def draw_table(results: Sequence[Result]) -> str:
    """A row for each set and scheme, and one of all sets: top-1 in percent, and the difference."""
    head = ("set", "seeds", "test", "scheme", "teacher %", "alone %", "taught %",
            "difference, points (95 %)")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    names = list(dict.fromkeys(result["set"] for result in results))
    for scheme in SCHEMES:
        rows = [(name, [r for r in results if r["set"] == name]) for name in names]
        rows += [("all", list(results))] if len(names) > 1 else []
        for name, own in rows:
            teacher, alone, taught = (
                [r["right"][scheme] for r in own if r["contender"] == contender]
                for contender in ("teacher", "alone", "taught")
            )
            asked = len({picture for right in alone for picture in right})
            cells = [name, str(len(alone)), str(asked), scheme]
            cells += [f"{_top1(rights):.2f}" for rights in (teacher, alone, taught)]
            cells.append(_cell(paired_difference(taught, alone)))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _top1(rights: Sequence[dict[str, bool]]) -> float:
    return 100 * float(np.mean([right for each in rights for right in each.values()]))


def _cell(difference: Difference) -> str:
    return f"{difference.mean_pp:+.2f} ({difference.low_pp:+.2f} to {difference.high_pp:+.2f})"


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, nargs="+")
    add("--results", type=Path, required=True, help="folder of the results' files")
    add("--work", type=Path, help="folder of runs and links; else edgetl's cache")
    add("--recipe", default="edge-default", help="of all networks")
    add("--student", default="mobilenet_v2", help="its backbone")
    add("--teacher", default="efficientnet_lite2", help="its backbone")
    add("--image-size", type=int, default=128)
    add("--teacher-size", type=int, help="the teacher's picture size; else the student's")
    add("--weights", default="imagenet", choices=("imagenet", "none"))
    add("--labels", type=float, default=1.0, help="the share of pictures that keep their labels")
    add("--seeds", type=int, default=1)
    add("--set", dest="settings", action="append", default=[], help="for all networks")
    add("--teacher-set", dest="teacher_settings", action="append", default=[])
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table."""
    given = read_arguments(arguments)
    with resumable():
        results = [
            trial.result(contender)
            for trial in make_trials(given)
            for contender in ("teacher", "alone", "taught")
        ]
    print(draw_table(results))


if __name__ == "__main__":
    main()
