"""Whether heatmaps point at what decides the class, on pictures where that is known.

    python benchmarks/heatmaps.py --work DIR [--size 224] [--patch 0.5] [--pictures 120]

Makes pictures of coloured noise with a patch at a random place whose pattern alone decides the
class; trains `edge-fast` on them, exports with a feature map, and prints for every artifact: the
share of held-out pictures that are right, the mean share of the heatmap's positive evidence that
lies on the patch, and the share of pictures in which its peak does. A heatmap that knows nothing
would put on the patch the share of the picture that it covers: a quarter by default.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import edgetl
from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import Heatmap
from edgetl.workstation.recipe import load_recipe, override

CLASSES = ("dots", "stripes", "zigzag")


class Planted(NamedTuple):
    """A made picture: uint8 [side, side, 3], and the patch's left, top and width in pixels."""

    pixels: NDArray[np.uint8]
    left: int
    top: int
    width: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Make pictures, train, export, and print how well the heatmaps point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for data, run and bundle")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, px")
    parser.add_argument("--patch", type=float, default=0.5, help="side of the patch / side")
    parser.add_argument("--pictures", type=int, default=120, help="pictures of each class")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="recipe keys")
    parser.add_argument("--format", nargs="+", help="only these formats")
    given = parser.parse_args(arguments)
    patches = write_pictures(given.work / "pictures", given.size, given.patch, given.pictures)
    settings = [f"image_size_px={given.size}", "augment.min_area=0.9", *given.settings]
    recipe = override(load_recipe("edge-fast"), settings)
    edgetl.finetune(given.work / "pictures", given.work / "run", recipe=recipe)
    bundle = edgetl.export(
        given.work / "run",
        given.work / "m.edgetl",
        formats=given.format,
        max_drop_pp=100,  # what int8 loses is measured elsewhere
        explain_output=True,
    )
    print("| artifact | top-1 % | evidence on the patch % | peak on the patch % |")
    print("| --- | ---: | ---: | ---: |")
    for artifact in bundle.manifest.artifacts:
        print(row(bundle, artifact.name, given.work / "pictures" / "test", patches), flush=True)


def row(bundle: Bundle, artifact: str, folder: Path, patches: dict[str, Planted]) -> str:
    """A row of the table."""
    classifier = edgetl.Classifier(bundle, artifact=artifact)
    right, shares, peaks = [], [], []
    for path in sorted(folder.rglob("*.png")):
        prediction = classifier(path, explain=True)
        assert prediction.heatmap
        right.append(prediction.label == path.parent.name)
        share, peak = on_patch(prediction.heatmap, patches[f"{path.parent.name}/{path.name}"])
        shares.append(share)
        peaks.append(peak)
    scores = (100 * float(np.mean(each)) for each in (right, shares, peaks))
    return f"| {artifact} | " + " | ".join(f"{score:.1f}" for score in scores) + " |"


def on_patch(heatmap: Heatmap, planted: Planted) -> tuple[float, bool]:
    """The share of the positive evidence on the patch, and whether the largest value is on it.

    Each cell's evidence is spread evenly over its pixels.
    """
    cells = np.array(heatmap.logits).clip(0)
    side = len(planted.pixels)
    rows = np.arange(side) * len(cells) // side
    columns = np.arange(side) * len(cells[0]) // side
    spread = cells[rows][:, columns]
    mask = np.zeros((side, side), bool)
    mask[planted.top :, planted.left :][: planted.width, : planted.width] = True
    peak = spread == spread.max()
    return float(spread[mask].sum() / max(spread.sum(), 1e-9)), bool(mask[peak].any())


def write_pictures(folder: Path, side: int, patch: float, count: int) -> dict[str, Planted]:
    """Write `train` and `test` folders of classes; a quarter is for the test.

    Returns the test pictures by "class/file".
    """
    random = np.random.default_rng(0)
    patches = {}
    for label in CLASSES:
        for number in range(count):
            part = "test" if number % 4 == 0 else "train"
            planted = draw(label, side, round(patch * side), random)
            path = folder / part / label / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(planted.pixels).save(path)
            if part == "test":
                patches[f"{label}/{path.name}"] = planted
    return patches


def draw(label: str, side: int, width: int, random: np.random.Generator) -> Planted:
    """Draw coloured noise of several scales with a class's patch, `width` pixels a side, on it."""
    pixels = np.zeros((side, side, 3))
    for cells in (4, 16, 64):
        noise = random.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        pixels += np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))
    left, top = (int(n) for n in random.integers(0, side - width, 2))
    y, x = np.mgrid[:width, :width] / width * 6
    wave = {
        "dots": np.sin(np.pi * x) * np.sin(np.pi * y),
        "stripes": np.sin(np.pi * (x + y)),
        "zigzag": np.sin(np.pi * (y + np.abs(x % 2 - 1))),
    }[label]
    dark, light = random.uniform(0, 90, 3), random.uniform(160, 255, 3)
    pixels = pixels / 3
    pixels[top : top + width, left : left + width] = np.where(wave[..., None] > 0, light, dark)
    return Planted(pixels.clip(0, 255).astype(np.uint8), left, top, width)


if __name__ == "__main__":
    main()
