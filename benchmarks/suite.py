"""Judge recipes over many data sets, beside a plain tutorial loop.

    python benchmarks/suite.py DATA --results DIR [--recipe edge-default] [--seeds 3] [--quick]
        [--variant NAME:key=value,key=value] [--plain 12,40] [--sets a,b] [--stand-ins] [--jobs N]
        [--corruptions]

DATA holds a folder a set: class folders, or train/ and val/ folders of them. The demo's solar cells
come from the package registry. Of each set a fifth is measured on, or the part it has for that; the
seed decides which pictures, and edgetl and the plain loop (benchmarks/plain_loop.py) get the same.

Each result is a JSON file in DIR, found again by a later call with the same settings, pictures and
seed; Ctrl-C loses the runs under way. A new commit does not make old results stale: give each state
of the code its own DIR (only the plain loop's files are worth copying over).

--quick is 128 px, at most 60 pictures a class to learn from and 100 to measure on, and 8 epochs of
the plain loop beside 16 of edgetl: one to two, as on a CPU. A shipped recipe's setting is decided
by the mean and the worst difference over all sets.
"""

import argparse
import json
import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from as_user import RunError
from plain_loop import PlainLoop
from spoken import Spoken, resumable
from suite_runs import Contender, Result, Task, head_commit, run_task
from suite_sets import find_sets, lay_out
from suite_table import draw_table, make_rows, overall

from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder

QUICK = {"image_size": 128, "plain": "8", "epochs": 16, "learn": 60, "measure": 100}
PLAIN_EPOCHS = "12"


def listed(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def read_variant(text: str) -> tuple[str, list[str]]:
    """`wide:augment.min_area=0.6,finetune.ema=0` -> its name and its settings.

    A comma before anything but a key belongs to the value, e.g. head.hidden=[512,256].
    """
    name, _, settings = text.partition(":")
    if not re.fullmatch(r"[\w.-]+", name) or "=" not in settings:
        raise SystemExit(f"--variant '{text}' is not NAME:key=value,key=value.")
    return name, re.split(r",(?=[\w.]+=)", settings)


def contenders(given: argparse.Namespace) -> list[Contender]:
    """The plain loops, then each recipe as it is and with each variant's settings."""
    found = []
    for count in listed(given.plain):
        loop = PlainLoop(given.backbone, given.weights, int(count), given.rate)
        loop = loop._replace(side_px=given.image_size or loop.side_px)
        found.append(Contender(f"plain-{count}", loop=loop))
    shared = [f"backbone={given.backbone}", f"weights={given.weights}"]
    if given.image_size:
        shared.append(f"image_size_px={given.image_size}")
    if given.epochs:
        shared.append(f"finetune.epochs={given.epochs}")
    shared += given.settings
    variants = [("", []), *map(read_variant, given.variants)]
    for recipe in (name for text in given.recipes for name in listed(text)):
        for name, settings in variants:
            title = f"{Path(recipe).stem}+{name}" if name else Path(recipe).stem
            found.append(Contender(title, recipe=recipe, settings=(*shared, *settings)))
    return found


def make_tasks(given: argparse.Namespace) -> list[Task]:
    """Every contender on every set with every seed, the sets' folders made."""
    work = given.work or cache_folder() / "suite"
    sets = find_sets(given.data, work, listed(given.sets), given.stand_ins, Spoken())
    line_up = contenders(given)
    tasks = []
    for one in sets:
        for seed in range(given.seeds):
            laid = lay_out(one, seed, given.learn, given.measure, work)
            tasks += [
                Task(contender, laid, given.results, given.corruptions) for contender in line_up
            ]
    return tasks


def run_all(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Result | Exception]]:
    """Results, or the errors that were in their way, as they come."""
    if jobs == 1:
        for task in tasks:
            try:
                yield task, run_task(task)
            except (RunError, EdgetlError) as error:
                yield task, error
        return
    # Spawned: a process that has used a GPU, or several threads, cannot be forked.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
        under_way = {pool.submit(run_task, task): task for task in tasks}
        try:
            for future in as_completed(under_way):
                error = future.exception()
                if error and not isinstance(error, RunError | EdgetlError):
                    raise error
                yield under_way[future], error or future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def collect(tasks: Sequence[Task], jobs: int) -> tuple[list[Result], int]:
    """(All results in the tasks' order, how many runs failed); runs what is not there yet."""
    results = {task.file: found for task in tasks if (found := task.finished())}
    missing = [task for task in tasks if task.file not in results]
    Spoken().say(f"{len(results)} results are there, {len(missing)} runs to go")
    commit = head_commit()
    old = sum(found["kind"] == "edgetl" and found["edgetl_commit"] != commit
              for found in results.values())  # fmt: skip
    if old:
        Spoken().say(f"{old} of edgetl's results come from other commits than {commit}")
    failed = 0
    for task, outcome in run_all(missing, jobs):
        title = f"{task.laid.name}, seed {task.laid.seed}, {task.contender.name}"
        if isinstance(outcome, Exception):
            failed += 1
            Spoken().say(f"{title} failed: {outcome}")
        else:
            results[task.file] = outcome
            Spoken().say(f"{title}: {outcome['top1']:.2%} in {outcome['seconds']:.0f} s")
    return [results[task.file] for task in tasks if task.file in results], failed


def read_arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path)
    add("--results", type=Path, required=True, help="folder of the results' files")
    add("--work", type=Path, help="folder of fetched pictures and links; else edgetl's cache")
    add("--recipe", dest="recipes", action="append", help='default: edge-default; "": none')
    add("--variant", dest="variants", action="append", default=[], metavar="NAME:KEY=VALUE,...")
    add("--set", dest="settings", action="append", default=[], help="for every recipe")
    add("--plain", help=f'the plain loop\'s epochs, e.g. 12,40; "": none; default: {PLAIN_EPOCHS}')
    add("--rate", type=float, default=3e-4, help="the plain loop's peak rate")
    add("--backbone", default="mobilenet_v2")
    add("--weights", default="imagenet", choices=("imagenet", "none"))
    add("--image-size", type=int, help="of edgetl and the plain loop; else the recipe's and 224")
    add("--epochs", type=int, help="of edgetl, in place of the recipe's")
    add("--learn", type=int, help="at most so many pictures a class to learn from")
    add("--measure", type=int, help="at most so many pictures a class to measure on")
    add("--seeds", type=int, default=1)
    add("--sets", default="", help="names with commas; default: all but the stand-ins")
    add("--stand-ins", action="store_true", help="also sets made from trashnet")
    add("--quick", action="store_true", help=", ".join(f"{k} {v}" for k, v in QUICK.items()))
    add("--corruptions", action="store_true", help="score corrupted test pictures, too")
    add("--jobs", type=int, default=1, help="runs at once")
    add("--json", type=Path, help="write rows, summary and results")
    add("--markdown", action="store_true")
    given = parser.parse_args()
    given.recipes = given.recipes or ["edge-default"]
    defaults = QUICK if given.quick else {"plain": PLAIN_EPOCHS}
    for name, value in defaults.items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    return given


def main() -> None:
    """Run what is missing, print the table."""
    given = read_arguments()
    with resumable():
        results, failed = collect(make_tasks(given), given.jobs)
    rows = make_rows(results)
    print(draw_table(rows, markdown=given.markdown))
    if given.json:
        document = {
            "rows": [row._asdict() | {"cells": {n: c._asdict() for n, c in row.cells.items()}}
                     for row in rows],
            "overall": overall(rows),
            "results": results,
        }  # fmt: skip
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    if failed:
        raise SystemExit(f"{failed} runs failed; the same command tries them again.")


if __name__ == "__main__":
    main()
