"""Seconds per epoch of one process and of several, side by side in one run.

    python benchmarks/scaling.py [DATA] [--nproc 2] [--image-size 96] [--epochs 3] [--device cpu]

Without DATA it makes pictures of three classes. Each turn runs `edgetl finetune` with one process
and then with several, on the same pictures, global batch and pixel cache, which the first, untimed
turn fills. The epochs but the first of a run count: the median of their times in all turns.

Prints seconds per epoch of both, and how many times as fast the several are; writes them as JSON
with --json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TURNS = 3


def make_pictures(folder: Path, count: int, size_px: int) -> Path:
    """Noise around a colour of each of three classes."""
    rng = np.random.default_rng(0)
    for label, colour in enumerate(((160, 80, 80), (80, 160, 80), (80, 80, 160))):
        (folder / f"class-{label}").mkdir(parents=True)
        for i in range(count):
            noise = rng.normal(colour, 40, (size_px, size_px, 3)).clip(0, 255)
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"class-{label}" / f"{i}.png")
    return folder


def epoch_seconds(data: Path, given: argparse.Namespace, processes: int) -> list[float]:
    """Train; returns how long each epoch but the first took, validation included."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable, "-m", "edgetl", "--quiet", "finetune", str(data), "-o", str(out),
            f"--backbone={given.backbone}", "--weights=none", f"--image-size={given.image_size}",
            f"--epochs={given.epochs}", f"--device={given.device}", f"--nproc={processes}",
            # The same work in every epoch.
            "--set=finetune.train_size=1", "--set=finetune.first_size_px=null",
            *(f"--set={setting}" for setting in given.settings),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (out / "metrics.jsonl").read_text().splitlines()
        ends = [json.loads(line)["seconds"] for line in lines]
    return list(np.diff(ends))


def measure(data: Path, given: argparse.Namespace) -> dict[str, float]:
    """Median seconds per epoch of one process and of several, and their ratio."""
    taken: dict[int, list[float]] = {1: [], given.nproc: []}
    for turn in range(given.turns + 1):
        for processes, seconds in taken.items():
            found = epoch_seconds(data, given, processes)
            if turn or not given.turns:  # the first fills the pixel cache
                seconds.extend(found)
    one, several = (statistics.median(seconds) for seconds in taken.values())
    return {"one": one, "several": several, "ratio": one / several}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="class folders; default: made-up ones")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=100, help="made-up pictures per class")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or make_pictures(Path(folder) / "made", given.pictures, given.image_size)
        found = measure(data, given)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {given.device}"
    print(f"1 process: {found['one']:.2f} s per epoch")
    print(f"{given.nproc} processes: {found['several']:.2f} s per epoch")
    print(f"{found['ratio']:.2f} times as fast ({machine})")
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
