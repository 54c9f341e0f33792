"""How much of the device's speed training reaches: edgetl's steps beside ones that do nothing else.

    python benchmarks/throughput.py DATA [--backbone mobilenet_v2] [--image-size 224] [--batch 32]

The other steps (same network, precision, layout and optimiser) take one batch that already lies
on the device: no pictures, no augmentation, no clipping, no average. On a GPU both are captured as
CUDA graphs, and edgetl's are timed kernel by kernel as well. Contenders take turns, and the median
of their turns counts; the first turn warms up.

Prints pictures per second and edgetl's ratio to the other; writes them as JSON with --json.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from edgetl.core.progress import Silent
from edgetl.data.split import make_parts
from edgetl.workstation.recipe import load_recipe, override, with_epochs
from edgetl.workstation.training.compute import Compute
from edgetl.workstation.training.decisions import Decisions
from edgetl.workstation.training.initial_network import make_initial_network
from edgetl.workstation.training.setup import TrainingSetup
from edgetl.workstation.training.trainer import Trainer
from edgetl.workstation.training.training_pixels import decode_training

TURNS = 4


def make_trainer(given: argparse.Namespace) -> Trainer:
    """What `edgetl finetune` would train with, all of DATA's training pictures decoded."""
    recipe = override(
        load_recipe(given.recipe),
        [f"backbone={given.backbone}", f"image_size_px={given.image_size}", "weights=none",
         f"finetune.batch={given.batch}",
         # Neither ends after the recipe's epochs: no schedule, and one side throughout.
         "finetune.schedule=constant", "finetune.train_size=1", "finetune.first_size_px=null",
         *given.settings],
    )  # fmt: skip
    compute = Compute(recipe, given.device)
    parts = make_parts(given.data, recipe.split, recipe.seed)
    recipe = with_epochs(recipe, len(parts.train), gpu=compute.gpu)
    start = make_initial_network(recipe, len(parts.labels), Silent())
    spec, augment = start.preprocess, recipe.augmentation
    pictures, _, _ = decode_training(parts.train, spec, augment, Silent())
    compute.place_for_training(start.network.model)
    setup = TrainingSetup(
        start.network, pictures, None, spec, recipe, compute, Silent(), Decisions(None, Silent())
    )
    return Trainer(setup, augment)


def edgetl_steps(trainer: Trainer, *, capture: bool) -> Callable[[int], int]:
    """Takes so many real steps, epoch after epoch; returns how many pictures they had."""
    parts = itertools.chain.from_iterable(trainer._begin(epoch) for epoch in itertools.count())
    captured = trainer.machine.captured

    def take(steps: int) -> int:
        pictures = 0
        if captured:
            captured.possible = capture
        for part in itertools.islice(parts, steps):
            trainer.step(part)
            pictures += part.stop - part.start
        return pictures

    return take


def bare_steps(trainer: Trainer, batch: int) -> Callable[[int], int]:
    """Takes so many steps on one batch that lies on the device; returns their pictures."""
    compute = trainer.setup.compute
    device = compute.device
    side, model = trainer.setup.spec.size_px, trainer.network.model
    pixels = torch.randn(batch, 3, side, side, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(trainer.network.classes(), (batch,), device=device)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), 1e-9, fused=True, capturable=on_gpu)

    def step() -> None:
        with compute.autocast():
            logits = model(pixels)
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    one = captured(step) if on_gpu else step

    def take(steps: int) -> int:
        for _ in range(steps):
            one()
        return steps * batch

    return take


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def rate(take: Callable[[int], int], steps: int, compute: Compute) -> float:
    """Pictures per second."""
    compute.wait()
    begun = time.perf_counter()
    pictures = take(steps)
    compute.wait()
    return pictures / (time.perf_counter() - begun)


def measure(given: argparse.Namespace) -> dict[str, float | str]:
    """Median pictures per second of every contender."""
    trainer = make_trainer(given)
    contenders = {"edgetl": edgetl_steps(trainer, capture=True)}
    if trainer.setup.compute.device.type == "cuda":
        contenders["edgetl, kernel by kernel"] = edgetl_steps(trainer, capture=False)
    contenders["bare"] = bare_steps(trainer, given.batch)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(TURNS):
        for name, take in contenders.items():
            rates[name].append(rate(take, given.steps, trainer.setup.compute))
    medians = {name: float(np.median(turns[1:])) for name, turns in rates.items()}
    return {
        "device": trainer.setup.compute.described,
        "torch": torch.__version__,
        **medians,
        "ratio": medians["edgetl"] / medians["bare"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--recipe", default="edge-default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = measure(given)
    print(f"{given.backbone}, {given.image_size} px, batches of {given.batch}: {found['device']}")
    for name, value in found.items():
        if name in ("device", "torch"):
            continue
        print(f"  {name}: {value:.2f}" if name == "ratio" else f"  {name}: {value:.0f} pictures/s")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
