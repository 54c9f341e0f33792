"""The loop a good tutorial teaches, to hold edgetl beside.

ImageFolder, random resized crops and flips, a DataLoader with two workers, AdamW, one cycle; the
last epoch counts. With bfloat16 it gets channels_last and autocast as well.
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from edgetl.core.progress import Silent
from edgetl.workstation.backbones.build import build_network
from edgetl.workstation.backbones.catalogue import find_backbone
from edgetl.workstation.backbones.weights import find_weights, fit_weights, read_state_dict

_LINUX = sys.platform == "linux"


class PlainLoop(NamedTuple):
    """The loop's settings.

    Attributes:
        weights: "imagenet" or "none".
        rate: the peak of the cycle.
        side_px: of the network's input; test pictures are resized to 8/7 of it and cropped.
    """

    backbone: str = "mobilenet_v2"
    weights: str = "imagenet"
    epochs: int = 12
    rate: float = 3e-4
    bf16: bool = True
    side_px: int = 224
    batch: int = 32


class PlainOutcome(NamedTuple):
    """What a plain loop ended with.

    Attributes:
        seconds: from building the loaders to the end of the last epoch, without scoring.
        top1: the fraction of test pictures that are right.
        predicted: the class, as an index into the sorted names, of each test picture; by the
            file the picture's link points to.
        curve: (seconds, top1) after each epoch that was scored.
    """

    seconds: float
    top1: float
    predicted: dict[Path, int]
    curve: list[tuple[float, float]]


def run_plain(root: Path, loop: PlainLoop, seed: int, *, every_epoch: bool = False) -> PlainOutcome:
    """Train on `root`/train and score `root`/test after the last epoch, or after each one."""
    begun = time.monotonic()
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = plain_loaders(root, loop)
    model = _network(loop, len(train.dataset.classes)).to(device)
    if loop.bf16:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), loop.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, loop.rate, epochs=loop.epochs, steps_per_epoch=len(train)
    )
    curve = []
    for epoch in range(loop.epochs):
        _train_epoch(model, train, optimizer, schedule, device, loop.bf16)
        spent = time.monotonic() - begun
        if every_epoch or epoch == loop.epochs - 1:
            classes = _answers(model, test, device, loop.bf16)
            curve.append((round(spent, 1), _top1(test, classes)))
            print(f"  {spent:.0f} s: {curve[-1][1]:.2%}", file=sys.stderr)
            begun += time.monotonic() - begun - spent  # scoring is not what is timed
    paths = [Path(path).resolve() for path, _ in test.dataset.samples]
    return PlainOutcome(*curve[-1], dict(zip(paths, classes, strict=True)), curve)


def plain_loaders(root: Path, loop: PlainLoop) -> tuple[DataLoader, DataLoader]:
    """For train and test, as in torchvision's own fine-tuning tutorial."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ending = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    side_px = loop.side_px
    train = transforms.Compose(
        [transforms.RandomResizedCrop(side_px), transforms.RandomHorizontalFlip(), *ending]
    )
    larger = transforms.Resize(round(side_px * 8 / 7))
    test = transforms.Compose([larger, transforms.CenterCrop(side_px), *ending])
    learnt = datasets.ImageFolder(str(root / "train"), train)
    measured = datasets.ImageFolder(str(root / "test"), test, allow_empty=True)
    batch = min(loop.batch, len(learnt))  # the last batch is dropped, so one must be whole
    # In a spawned process of the suite, workers would be spawned too, and import torch again.
    workers = {"num_workers": 2, "multiprocessing_context": "fork" if _LINUX else None}
    return (
        DataLoader(learnt, batch, shuffle=True, drop_last=True, persistent_workers=True, **workers),
        DataLoader(measured, loop.batch, **workers),
    )


def _network(loop: PlainLoop, classes: int) -> nn.Module:
    entry = find_backbone(loop.backbone)
    model = build_network(entry, classes).model
    if loop.weights == "imagenet":
        found = find_weights(entry, Silent())
        fit_weights(
            model, read_state_dict(found.path), what=loop.backbone, except_head=(entry.head,),
            by_order=found.source.paired_by_order,
        )  # fmt: skip
    return model


def _train_epoch(
    model: nn.Module,
    train: DataLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    device: str,
    bf16: bool,
) -> None:
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


def _answers(model: nn.Module, test: DataLoader, device: str, bf16: bool) -> list[int]:
    """The class of each test picture, in the data set's order."""
    model.eval()
    classes: list[int] = []
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        for pixels, _ in test:
            classes += model(pixels.to(device)).argmax(1).tolist()
    return classes


def _top1(test: DataLoader, classes: list[int]) -> float:
    truth = test.dataset.targets
    return sum(a == b for a, b in zip(classes, truth, strict=True)) / len(truth)
