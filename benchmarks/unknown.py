"""How well networks tell pictures of other sets from their own, through each engine.

    python benchmarks/unknown.py --work DIR trashnet=DATA rsscn7=DATA ... [--pictures 250]

Fine-tunes `edge-fast` on each set, exports it in fp32 and int8 (a run or bundle that is there is
used as it is), and scores every artifact on the run's held-out pictures against up to `--pictures`
of each other set. Prints a row for each pair, then the means over the pairs and the worst of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import edgetl
from edgetl.bundle.archive import Bundle
from edgetl.cli.progress import make_progress
from edgetl.data.folders import Example
from edgetl.data.split import SPLITS_FILE, pick_balanced, read_split, resolve
from edgetl.evaluation.against import foreign_examples, score_against
from edgetl.workstation.recipe import load_recipe, override


class Pair(NamedTuple):
    """An artifact against one foreign set; scores in percent."""

    artifact: str
    own: str
    foreign: str
    auroc: float
    confidence_auroc: float
    fpr95: float
    answered: float
    foreign_answered: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and export what is missing, score every pair, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and bundles")
    parser.add_argument("--pictures", type=int, default=250, help="at most, of each foreign set")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="recipe keys")
    parser.add_argument("--artifact", action="append", help="only this one; can be repeated")
    parser.add_argument("sets", nargs="+", metavar="NAME=DATA")
    given = parser.parse_args(arguments)
    sets = {name: Path(data) for name, data in (each.split("=", 1) for each in given.sets)}
    recipe = override(load_recipe("edge-fast"), given.settings)
    pairs: list[Pair] = []
    print(
        "| own | foreign | artifact | AUROC % | by confidence % | FPR95 % | answered % | foreign |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, data in sets.items():
        run, file = given.work / name, given.work / f"{name}.edgetl"
        if not run.is_dir():
            edgetl.finetune(data, run, recipe=recipe, progress=make_progress())
        if not file.is_file():
            edgetl.export(run, file, max_drop_pp=100, progress=make_progress())
        for other, folder in sets.items():
            if other != name:
                foreign = pick_balanced(foreign_examples(folder), given.pictures, seed=0)
                for artifact in given.artifact or [None]:
                    found = scored(Bundle(file), artifact, held_out(run), name, foreign, other)
                    pairs += found
                    print("\n".join(row(pair) for pair in found), flush=True)
    print(
        "\n| artifact | AUROC % | worst | by confidence % | worst | worst gain | FPR95 % "
        "| own answered % | foreign answered % |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for artifact in dict.fromkeys(pair.artifact for pair in pairs):
        print(summary(artifact, [pair for pair in pairs if pair.artifact == artifact]))


def held_out(run: Path) -> list[Example]:
    """A run's test pictures, else its validation pictures."""
    split = read_split(run / SPLITS_FILE)
    return list(resolve(split, split.test) or resolve(split, split.val))


def scored(
    bundle: Bundle,
    artifact: str | None,
    own: Sequence[Example],
    name: str,
    foreign: Sequence[Example],
    other: str,
) -> list[Pair]:
    """An artifact of a bundle, or every artifact, against one set."""
    progress = make_progress()
    return [
        Pair(
            score.artifact,
            name,
            other,
            100 * score.foreign.auroc,
            100 * score.foreign.confidence_auroc,
            100 * score.foreign.fpr95,
            100 * score.answered,
            100 * score.foreign.answered,
        )
        for score in score_against(bundle, own, foreign, progress, folder=other, artifact=artifact)
    ]


def row(pair: Pair) -> str:
    """A row of the first table."""
    cells = (pair.own, pair.foreign, pair.artifact, *(f"{figure:.1f}" for figure in pair[3:]))
    return f"| {' | '.join(cells)} |"


def summary(artifact: str, pairs: Sequence[Pair]) -> str:
    """A row of the second table: means over the pairs, and the worst."""
    auroc, by_confidence, fpr95, answered, foreign_answered = np.array(
        [pair[3:] for pair in pairs]
    ).T
    figures = (
        auroc.mean(), auroc.min(), by_confidence.mean(), by_confidence.min(),
        (auroc - by_confidence).min(), fpr95.mean(), answered.mean(), foreign_answered.mean(),
    )  # fmt: skip
    return f"| {artifact} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


if __name__ == "__main__":
    main()
