"""A recipe file that is searched in seconds, and commands in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from edgetl.workstation.recipe import load_ranges
from edgetl.workstation.search.results import Search
from edgetl.workstation.search.search import search
from edgetl.workstation.user_recipe import user_recipe

NETWORK = """
backbone: timm:test_resnet
weights: none
image_size_px: 32
precision: fp32
probe: {enabled: false}
"""
# With a rate of 10 little is learned: such a trial falls behind.
RANGES = """
finetune: {batch: 8, epochs: 3, optimizer: sgd, backbone_rate: 5e-2, head_rate: 5e-2, clip_norm: 0}
search:
  finetune.backbone_rate: [0.05, 1e-4, 10.0]
  augment.min_area: {low: 0.3, high: 0.9, step: 0.1}
"""


def write_recipe(path: Path, text: str = RANGES) -> Path:
    path.write_text(NETWORK + text)
    return path


def start(*arguments: object) -> "subprocess.Popen[str]":
    """`edgetl search` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgetl", "search", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def search_of(mine: Path, photos: Path, out: Path, storage: Path | str, *, trials: int) -> Search:
    """A search by a recipe file that joins a study."""
    ranges = load_ranges(str(mine))
    return search(user_recipe(str(mine)), photos, out, trials=trials, ranges=ranges,
                  storage=str(storage))  # fmt: skip
