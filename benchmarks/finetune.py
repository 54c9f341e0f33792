"""Time and accuracy of `edgetl finetune` beside a plain torchvision loop.

    python benchmarks/finetune.py DATA [--recipe edge-default] [--plain fp32,bf16] [--seeds 3]

Both get the same pictures in the same parts (80 % to train on, 20 % to measure on, stratified;
data that comes in parts keeps its own), the same ImageNet weights and the same machine, one after
the other. The plain loop is what a good tutorial teaches: ImageFolder, random resized crops and
flips, a DataLoader with two workers, AdamW, one cycle, 224 px, 12 epochs. "bf16" gives it
channels_last and bfloat16 autocast as well.

Prints a line for every run and writes them all as JSON with --json.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from as_user import finetune_as_user
from parts import fix_parts, link_parts
from plain_loop import PlainLoop, run_plain

from edgetl.workstation.backbones.checkpoint import read_facts


def plain_row(root: Path, loop: PlainLoop, seed: int) -> dict:
    """Time and accuracy of the plain loop, after each epoch too."""
    outcome = run_plain(root, loop, seed, every_epoch=True)
    return {"seconds": outcome.seconds, "top1": outcome.top1, "curve": outcome.curve}


def edgetl_row(root: Path, recipe: str, backbone: str, seed: int, settings: list[str]) -> dict:
    """Time and accuracy of `edgetl finetune`; seconds are the whole process, imports and all."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        spent = finetune_as_user(root, run, recipe, seed, [f"backbone={backbone}", *settings])
        return {"seconds": round(spent, 1), "top1": read_facts(run).test_top1}


def read_arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="edge-default")
    parser.add_argument("--plain", default="", help="fp32, bf16, or both with a comma")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test", type=float, default=0.2, help="part to measure on")
    parser.add_argument("--epochs", type=int, default=12, help="of the plain loop")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak, of the plain loop")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run everything, print."""
    given = read_arguments()
    rows = []
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            link_parts(fix_parts(given.data, given.test, seed), root)
            jobs = [(f"plain {kind}", kind) for kind in given.plain.split(",") if kind]
            jobs += [(recipe, "") for recipe in given.recipe.split(",") if recipe]
            for name, kind in jobs:
                if kind:
                    loop = PlainLoop(
                        given.backbone, epochs=given.epochs, rate=given.rate, bf16=kind == "bf16"
                    )
                    row = plain_row(root, loop, seed)
                else:
                    row = edgetl_row(root, name, given.backbone, seed, given.settings)
                rows.append({"name": name, "seed": seed, **row})
                print(f"{name}, seed {seed}: {row['top1']:.2%} in {row['seconds']:.0f} s")
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        top1, seconds = ([row[key] for row in mine] for key in ("top1", "seconds"))
        print(
            f"{name}: {np.mean(top1):.2%} +- {np.std(top1, ddof=len(top1) > 1):.2%}, "
            f"{np.mean(seconds):.0f} s, {len(mine)} seeds, "
            f"{platform.machine()} with {os.cpu_count()} cores"
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
