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
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from edgetl.backbones.build import build_network
from edgetl.backbones.catalogue import find_backbone
from edgetl.backbones.weights import find_weights, fit_weights, read_state_dict
from edgetl.core.progress import Silent
from edgetl.data.folders import part_folders, read_class_folders, read_labelled
from edgetl.data.split import stratified


def lay_out(data: Path, held_out: float, seed: int, root: Path) -> None:
    """train/ and test/ folders of links; data that has a val or test part keeps it."""
    parts = part_folders(data)
    if parts:
        labels, train = read_class_folders(parts["train"])
        test = read_labelled(parts.get("test") or parts["val"], labels).examples
    else:
        labels, examples = read_class_folders(data)
        train, test = stratified(examples, held_out, seed)
    for part, chosen in (("train", train), ("test", test)):
        for label in labels:
            (root / part / label).mkdir(parents=True)
        for number, example in enumerate(chosen):
            link = root / part / labels[example.label] / f"{number:06}{example.path.suffix}"
            link.symlink_to(example.path.resolve())


def plain_loaders(root: Path, batch: int) -> tuple[DataLoader, DataLoader]:
    """As in torchvision's own fine-tuning tutorial."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ending = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    train = transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *ending]
    )
    test = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *ending])
    return (
        DataLoader(
            datasets.ImageFolder(str(root / "train"), train),
            batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True,
        ),
        DataLoader(datasets.ImageFolder(str(root / "test"), test), batch, num_workers=2),
    )  # fmt: skip


def score(model: nn.Module, loader: DataLoader, device: str, bf16: bool) -> float:
    """Fraction right."""
    model.eval()
    right = count = 0
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        for pixels, labels in loader:
            right += int((model(pixels.to(device)).argmax(1).cpu() == labels).sum())
            count += len(labels)
    return right / count


def run_plain(root: Path, backbone: str, seed: int, epochs: int, rate: float, bf16: bool) -> dict:
    """The plain loop; seconds include everything after the imports."""
    begun = time.monotonic()
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = plain_loaders(root, 32)
    entry = find_backbone(backbone)
    model = build_network(entry, len(train.dataset.classes)).model
    found = find_weights(entry, Silent())
    fit_weights(
        model, read_state_dict(found.path), what=backbone, except_head=(entry.head,),
        by_order=found.source.paired_by_order,
    )  # fmt: skip
    model.to(device)
    if bf16:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, epochs=epochs, steps_per_epoch=len(train)
    )
    curve = []
    for _ in range(epochs):
        model.train()
        for pixels, labels in train:
            pixels, labels = pixels.to(device), labels.to(device)
            if bf16:
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        spent = time.monotonic() - begun
        curve.append((round(spent, 1), score(model, test, device, bf16)))
        print(f"  {spent:.0f} s: {curve[-1][1]:.2%}", file=sys.stderr)
        begun += time.monotonic() - begun - spent  # scoring is not what is timed
    return {"seconds": curve[-1][0], "top1": curve[-1][1], "curve": curve}


def run_edgetl(root: Path, recipe: str, backbone: str, seed: int, settings: list[str]) -> dict:
    """`edgetl finetune` as a user calls it; seconds are the whole process, imports and all."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable, "-m", "edgetl", "finetune", str(root), "-o", str(run), "-r", recipe,
            "--backbone", backbone, "--seed", str(seed),
            *(part for setting in settings for part in ("--set", setting)),
        ]  # fmt: skip
        begun = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spent = time.monotonic() - begun
        facts = json.loads((run / "checkpoint.json").read_text())
    return {"seconds": round(spent, 1), "top1": facts["test_top1"]}


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
            lay_out(given.data, given.test, seed, root)
            jobs = [(f"plain {kind}", kind) for kind in given.plain.split(",") if kind]
            jobs += [(recipe, "") for recipe in given.recipe.split(",") if recipe]
            for name, kind in jobs:
                if kind:
                    bf16 = kind == "bf16"
                    row = run_plain(root, given.backbone, seed, given.epochs, given.rate, bf16)
                else:
                    row = run_edgetl(root, name, given.backbone, seed, given.settings)
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
