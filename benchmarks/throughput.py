"""How much of the device's speed training reaches: edgetl's loop beside one that waits for nothing.

    python benchmarks/throughput.py DATA [--backbone mobilenet_v2] [--image-size 224] [--batch 64]

The other loop takes the same steps (same network, precision, layout, optimiser) on one batch that
already lies on the device: no pictures, no augmentation. The ratio is what reading, augmenting and
bookkeeping leave of it; our aim on a GPU is 0.85. Both are warmed up first and take turns.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from edgetl.core.progress import Silent
from edgetl.core.recipe import load_recipe, override
from edgetl.data.split import make_parts
from edgetl.finetune.compute import Compute
from edgetl.finetune.feed import PictureFeed
from edgetl.finetune.loop import Trainer
from edgetl.finetune.pixels import decode_all, training_spec
from edgetl.finetune.start import make_start


def wait(device: torch.device) -> None:
    """Until everything queued is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def ours(trainer: Trainer, feed: PictureFeed, batch: int, steps: int) -> float:
    """Pictures per second of real steps."""
    wait(trainer.compute.device)
    begun = time.perf_counter()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        trainer.step(feed, np.sort(rng.choice(len(trainer.train), batch, replace=False)))
    wait(trainer.compute.device)
    return steps * batch / (time.perf_counter() - begun)


def synthetic(trainer: Trainer, batch: int, steps: int) -> float:
    """Pictures per second of the same steps on one batch that is already there."""
    device, compute = trainer.compute.device, trainer.compute
    side, model = trainer.spec.size_px, trainer.network.model
    pixels = torch.randn(batch, 3, side, side, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(trainer.network.classes(), (batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-9, fused=True)
    wait(device)
    begun = time.perf_counter()
    for _ in range(steps):
        with compute.autocast():
            logits = model(pixels)
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
    wait(device)
    return steps * batch / (time.perf_counter() - begun)


def main() -> None:
    """Parse, warm up, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--recipe", default="edge-default")
    given = parser.parse_args()
    recipe = override(
        load_recipe(given.recipe),
        [f"backbone={given.backbone}", f"image_size_px={given.image_size}", "weights=none",
         f"finetune.batch={given.batch}"],
    )  # fmt: skip
    parts = make_parts(given.data, recipe.split, 0)
    start = make_start(recipe, len(parts.labels), Silent())
    train, _, _ = decode_all(parts.train, training_spec(start.preprocess), Silent(), stage="train")
    compute = Compute(recipe)
    compute.place(start.network.model)
    trainer = Trainer(start.network, train, None, start.preprocess, recipe, compute, Silent())
    feed = PictureFeed(train, None, start.preprocess, recipe, compute)
    start.network.model.train()
    rates: dict[str, list[float]] = {"edgetl": [], "synthetic": []}
    for turn in range(4):
        mine, other = (
            ours(trainer, feed, given.batch, given.steps),
            synthetic(trainer, given.batch, given.steps),
        )
        if turn:  # the first one warms up
            rates["edgetl"].append(mine)
            rates["synthetic"].append(other)
    mine, other = (float(np.median(some)) for some in rates.values())
    print(
        f"{given.backbone} {given.image_size} px on {compute.device}: {mine:.0f} pictures/s, "
        f"synthetic {other:.0f} pictures/s, ratio {mine / other:.2f}"
    )


if __name__ == "__main__":
    main()
