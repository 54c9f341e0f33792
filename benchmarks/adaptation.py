"""What adapting to another place is worth: `edgetl finetune --adapt` on made domains.

    python benchmarks/adaptation.py DATA [DATA ...] --results DIR [--domains camera,grey,edges]
        [--image-size 128] [--most 60] [--seeds 1] [--recipe edge-default] [--set KEY=VALUE]

DATA is class folders. Half of each class's pictures stay as they are and are learned from, with a
fifth of them held out by finetune itself. The other half is changed into another domain: as a cheap
camera takes them in bad light (dark, colour-cast, blurred, noisy), without colour, or as edges. Of
these, half are given without labels, and half are only measured on.

Each finished adaptation is a JSON file in DIR, found again by a later call with the same settings,
pictures and seed. A new commit does not make old results stale: give each state its own DIR.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from spoken import Spoken, resumable
from suite_runs import head_commit
from suite_table import paired_difference

from edgetl.core.files import cache_folder, make_folder, write_text
from edgetl.core.progress import Silent
from edgetl.core.schema import to_json
from edgetl.data.folders import read_class_folders, read_labelled
from edgetl.evaluation.accuracy import predict_all
from edgetl.evaluation.corruptions import CORRUPTIONS
from edgetl.runtime.preprocess import Pixels
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.recipe import Recipe, load_recipe, override
from edgetl.workstation.run_folder import CANDIDATES_FOLDER, adaptation_state
from edgetl.workstation.torch_model import torch_model
from edgetl.workstation.training.adaptation.record import read_adaptation
from edgetl.workstation.training.finetune import finetune

_SIDE_PX = 256  # pictures are made smaller before they are changed
Result = dict[str, Any]


def _camera(pixels: Pixels) -> Pixels:
    for kind, severity in (("darkness", 2), ("colour cast", 3), ("blur", 2), ("noise", 1)):
        pixels = CORRUPTIONS[kind](pixels, severity)
    return pixels


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(ImageOps.grayscale(Image.fromarray(pixels)).convert("RGB"))


def _edges(pixels: Pixels) -> Pixels:
    grey = ImageOps.grayscale(Image.fromarray(pixels))
    return np.asarray(ImageOps.invert(grey.filter(ImageFilter.FIND_EDGES)).convert("RGB"))


DOMAINS: dict[str, Callable[[Pixels], Pixels]] = {
    "camera": _camera, "grey": _grey, "edges": _edges,
}  # fmt: skip


class Trial(NamedTuple):
    """A set in a domain for one seed; `root` has the folders source/, target/ and check/."""

    name: str
    domain: str
    root: Path
    recipe: Recipe
    work: Path
    results: Path

    def result(self) -> Result:
        """The result of an earlier call, or else of an adaptation that is run now."""
        key = hashlib.sha256(f"{to_json(self.recipe)} {self.root.name}".encode()).hexdigest()[:12]
        title = f"{self.name}-{self.domain}-s{self.recipe.seed}-{key}"
        file = self.results / f"{title}.json"
        if not file.is_file():
            Spoken().say(title)
            result = {
                "set": self.name,
                "domain": self.domain,
                "seed": self.recipe.seed,
                "settings": json.loads(to_json(self.recipe)),
                "edgetl_commit": head_commit(),
                **self._measured(self.work / "runs" / title),
            }
            make_folder(self.results)
            write_text(file, json.dumps(result) + "\n")
        return json.loads(file.read_text())

    def _measured(self, run: Path) -> Result:
        state = adaptation_state(run)
        if state != "finished":
            finetune(
                self.root / "source",
                run,
                self.recipe,
                adapt=self.root / "target",
                adapt_check=self.root / "check",
                resume=state == "interrupted",
                progress=Spoken(),
            )
        report = read_adaptation(run)
        assert report is not None
        measured = {
            each.name: {
                "test_top1": each.test_top1,
                "information": each.information,
                "confidence": each.confidence,
                "right": self._right(run / CANDIDATES_FOLDER / each.name),
            }
            for each in report.candidates
        }
        return {"picked": report.picked, "candidates": measured}

    def _right(self, run: Path) -> dict[str, bool]:
        """Whether each picture of check/ is answered rightly, by its name."""
        network, facts = load_checkpoint(run)
        examples = read_labelled(self.root / "check", facts.labels).examples
        model = torch_model(network, facts.preprocess)
        answers = predict_all(
            {"run": model}, examples, facts.preprocess, Silent(), stage="measuring"
        )
        names = [str(example.path.relative_to(self.root)) for example in examples]
        right = answers.predicted("run") == answers.truth
        return dict(zip(names, right.tolist(), strict=True))


def lay_out(data: Path, domain: str, most: int, seed: int, work: Path) -> Path:
    """Make the pictures of a domain, at most `most` a class of each kind; returns their folder."""
    labels, examples = read_class_folders(data)
    rng = np.random.default_rng(seed)
    chosen: list[tuple[str, str, Path]] = []
    for label, name in enumerate(labels):
        paths = sorted(example.path for example in examples if example.label == label)
        paths = [paths[i] for i in rng.permutation(len(paths))]
        half = len(paths) // 2
        others = paths[half:]
        kinds = {"source": paths[:half], "target": others[::2], "check": others[1::2]}
        chosen += [(kind, name, p) for kind, some in kinds.items() for p in some[:most]]
    digest = hashlib.sha256(f"{domain} {chosen}".encode()).hexdigest()[:12]
    root = work / "domains" / f"{data.name}-{domain}-{digest}"
    if not root.is_dir():
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for number, (kind, name, path) in enumerate(chosen):
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            picture.thumbnail((_SIDE_PX, _SIDE_PX))
            if kind != "source":
                picture = Image.fromarray(DOMAINS[domain](np.asarray(picture)))
            # What is given without labels does not lie in folders that name them.
            folder = partial / kind / (name if kind != "target" else "")
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{number:06}.png")
        partial.rename(root)  # whole or not there
    return root


def make_trials(given: argparse.Namespace) -> Iterator[Trial]:
    """Every set in every domain with every seed."""
    work = given.work or cache_folder() / "adaptation"
    for data in given.data:
        for domain in given.domains.split(","):
            for seed in range(given.seeds):
                settings = [f"seed={seed}", f"weights={given.weights}"]
                settings += [f"image_size_px={given.image_size}", f"backbone={given.backbone}"]
                recipe = override(load_recipe(given.recipe), [*settings, *given.settings])
                root = lay_out(data, domain, given.most, seed, work)
                yield Trial(data.name, domain, root, recipe, work, given.results)


def draw_table(results: Sequence[Result]) -> str:
    """A row for each set, domain and candidate, and how well the choice without labels does."""
    head = ("set", "domain", "candidate", "test %", "there %", "to plain, points (95 %)",
            "information", "confidence %", "picked")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    regrets: dict[str, list[float]] = {"information": [], "confidence": []}
    gains: list[float] = []
    for name, domain in dict.fromkeys((r["set"], r["domain"]) for r in results):
        own = [r for r in results if (r["set"], r["domain"]) == (name, domain)]
        for candidate in own[0]["candidates"]:
            mine = [r["candidates"][candidate] for r in own]
            plain = [r["candidates"]["plain"]["right"] for r in own]
            beside = paired_difference([each["right"] for each in mine], plain)
            picked = sum(r["picked"] == candidate for r in own)
            lines.append(
                f"| {name} | {domain} | {candidate} | {_mean(mine, 'test_top1', 100):.1f} "
                f"| {np.mean([_top1(each) for each in mine]):.1f} "
                f"| {beside.mean_pp:+.1f} [{beside.low_pp:+.1f}, {beside.high_pp:+.1f}] "
                f"| {_mean(mine, 'information', 1):.3f} | {_mean(mine, 'confidence', 100):.1f} "
                f"| {picked} of {len(own)} |"
            )
        for result in own:
            candidates = result["candidates"]
            best = max(map(_top1, candidates.values()))
            for criterion, regret in regrets.items():
                chosen = max(candidates.values(), key=lambda each: each[criterion])
                regret.append(best - _top1(chosen))
            gains.append(_top1(candidates[result["picked"]]) - _top1(candidates["plain"]))
    said = "; ".join(
        f"{criterion}: regret {np.mean(some):.1f} points on the mean, {max(some):.1f} at worst"
        for criterion, some in regrets.items()
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Choosing by {said}.",
            f"What is picked is {np.mean(gains):+.1f} points to plain on the mean, "
            f"{min(gains):+.1f} at worst.",
        ]
    )


def _top1(candidate: Result) -> float:
    return 100 * float(np.mean(list(candidate["right"].values())))


def _mean(candidates: Sequence[Result], key: str, factor: float) -> float:
    values = [each[key] for each in candidates if each[key] is not None]
    return factor * float(np.mean(values)) if values else float("nan")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, nargs="+")
    add("--results", type=Path, required=True, help="folder of the results' files")
    add("--work", type=Path, help="folder of runs and made pictures; else edgetl's cache")
    add("--domains", default=",".join(DOMAINS))
    add("--recipe", default="edge-default")
    add("--backbone", default="mobilenet_v2")
    add("--weights", default="imagenet", choices=("imagenet", "none"))
    add("--image-size", type=int, default=128)
    add("--most", type=int, default=60, help="pictures a class to learn from, adapt to, measure on")
    add("--seeds", type=int, default=1)
    add("--set", dest="settings", action="append", default=[])
    given = parser.parse_args(arguments)
    if unknown := set(given.domains.split(",")) - DOMAINS.keys():
        raise SystemExit(f"There is no domain '{min(unknown)}'; there are: {', '.join(DOMAINS)}.")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table."""
    given = read_arguments(arguments)
    with resumable():
        results = [trial.result() for trial in make_trials(given)]
    print(draw_table(results))


if __name__ == "__main__":
    main()
