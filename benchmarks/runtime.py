"""From photograph to label: edgetl beside a script by hand, other tools and the bare engine.

    python benchmarks/runtime.py BUNDLE RUN PICTURES [--ultralytics SITE] [--mediapipe SITE]
                                 [--write docs/performance.md]

BUNDLE holds the int8 artifacts of RUN, a MobileNetV2 at 224 px. The hand-written scripts run the
same network as each toolchain quantizes it by default, from normalised floats. PICTURES are
photographs; each is brought to 12 megapixels (with a little noise, so that it does not compress
better than a camera's) and to 500 x 375. Everything runs on this machine in one go: a process for
each contender, in turn, as often as `--rounds` says; of the rounds the median counts.

SITE is a folder that `pip install --target SITE` put the other tool in.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from int8 import ai_edge_defaults, nncf_defaults, onnx_defaults
from PIL import Image
from torch import Tensor, nn

from edgetl.benchmarking.host import host_facts
from edgetl.bundle.archive import Bundle
from edgetl.data.split import SPLITS_FILE, read_split
from edgetl.runtime.sources import pictures_in
from edgetl.workstation.backbones.checkpoint import load_checkpoint
from edgetl.workstation.export.pictures import choose_pictures, prepared

HERE = Path(__file__).parent
# Tells `contenders.py` the side of the network's pictures.
SIDE_VARIABLE = "CONTENDERS_SIDE_PX"
SIZES = {"12 megapixels": (4032, 3024), "500 pixels": (500, 375)}
ENGINES = {"onnxruntime": "onnx", "openvino": "openvino", "litert": "tflite"}
SUFFIXES = {"onnxruntime": ".onnx", "openvino": ".xml", "litert": ".tflite"}


class Contender(NamedTuple):
    """A way, its engine, its model, and where else it imports from."""

    way: str
    engine: str
    model: Path
    site: str | None = None

    @property
    def name(self) -> str:
        """e.g. "hand:litert"."""
        return f"{self.way}:{self.engine}"


class Took(NamedTuple):
    """Milliseconds by kind of picture, from process start to the first label, and peak bytes."""

    by_size: dict[str, float]
    start_ms: float
    peak_bytes: int


class Normalised(nn.Module):
    """A network that takes normalised floats, as its toolchain's guide has it."""

    pool: str | None = None  # No second output.

    def __init__(self, network: nn.Module, side_px: int) -> None:
        super().__init__()
        self.network, self.side_px = network, side_px

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [1, 3, H, W] to logits."""
        return self.network(pixels)

    def example(self) -> Tensor:
        """The shape it takes."""
        return torch.zeros(1, 3, self.side_px, self.side_px)


def hand_models(
    run: Path, calibration: Path, folder: Path, engines: Iterable[str]
) -> dict[str, Path]:
    """The network as each engine's toolchain quantizes it when left alone."""
    network, facts = load_checkpoint(run)
    chosen = choose_pictures(read_split(run / SPLITS_FILE), calibration)
    mean, std = (np.array(v, np.float32) for v in (facts.preprocess.mean, facts.preprocess.std))
    pictures = [
        ((picture.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
        for picture in prepared(chosen.calibration[:100], facts.preprocess)
    ]
    plain = Normalised(network.model, facts.preprocess.size_px).eval()
    ways = {
        "onnxruntime": lambda: onnx_defaults(plain, pictures, True),
        "openvino": lambda: nncf_defaults(plain, pictures),
        "litert": lambda: ai_edge_defaults(plain, pictures),
    }
    return {engine: write_model(folder / "hand", engine, ways[engine]()) for engine in engines}


def write_model(stem: Path, engine: str, files: Sequence[bytes]) -> Path:
    """A model's file or files, where an engine finds them."""
    path = stem.with_suffix(SUFFIXES[engine])
    path.write_bytes(files[0])
    if len(files) == 2:
        path.with_suffix(".bin").write_bytes(files[1])
    return path


def bundle_models(bundle: Path, folder: Path) -> dict[str, Path]:
    """A bundle's int8 files, for the engines' own calls."""
    opened, found = Bundle(bundle), {}
    for engine, format_ in ENGINES.items():
        artifact = next(
            a for a in opened.manifest.artifacts if a.format == format_ and "int8" in a.scheme
        )
        found[engine] = write_model(folder / "ours", engine, opened.files(artifact))
    return found


def make_pictures(source: Path, folder: Path, count: int) -> dict[str, list[Path]]:
    """Photographs of each size, as JPEG of quality 90."""
    random = np.random.default_rng(0)
    made = defaultdict(list)
    for number, path in enumerate(pictures_in(source)[:count]):
        original = Image.open(path).convert("RGB")
        for size, sides in SIZES.items():
            picture = np.asarray(original.resize(sides, Image.Resampling.BICUBIC), np.int16)
            noisy = picture + random.integers(-6, 7, picture.shape, np.int16)
            target = folder / f"{size.replace(' ', '-')}-{number}.jpg"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(target, quality=90)
            made[size].append(target)
    return dict(made)


def run_once(contender: Contender, pictures: dict[str, list[Path]], repeats: int) -> Took:
    """One process of a contender, over all pictures; its start is with the first small one."""
    names = [str(path) for paths in reversed(pictures.values()) for path in paths]
    command = [sys.executable, str(HERE / "contenders.py"), contender.name, str(contender.model)]
    paths = [path for path in (contender.site, os.environ.get("PYTHONPATH")) if path]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, str(repeats), *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        start_ms = (time.perf_counter() - begun) * 1e3
        lines = process.stdout.read().strip().splitlines()
    if process.returncode or not lines:
        raise RuntimeError(f"{contender.name} failed with {process.returncode}")
    said = json.loads(lines[-1])
    by_size = {
        size: statistics.median(ms for path in paths for ms in said["ms"][str(path)])
        for size, paths in pictures.items()
    }
    return Took(by_size, start_ms, said["peak_bytes"])


def middle(rounds: Sequence[Took]) -> Took:
    """The median of several runs."""
    return Took(
        {s: statistics.median(r.by_size[s] for r in rounds) for s in rounds[0].by_size},
        statistics.median(r.start_ms for r in rounds),
        int(statistics.median(r.peak_bytes for r in rounds)),
    )


def table(took: dict[str, Took]) -> Iterable[str]:
    """Markdown rows; what has an engine is also told as a ratio to that engine's script."""
    yield "| | " + " | ".join(f"{size}, ms" for size in SIZES) + " | first label, ms | peak MB |"
    yield "| --- |" + " ---: |" * (len(SIZES) + 2)
    for name, one in took.items():
        hand = took.get(f"hand:{name.partition(':')[2]}")
        cells = [
            _cell(one.by_size[size], hand.by_size[size] if hand else None, 2) for size in SIZES
        ]
        cells.append(_cell(one.start_ms, hand.start_ms if hand else None, 0))
        cells.append(_cell(one.peak_bytes / 1e6, hand.peak_bytes / 1e6 if hand else None, 0))
        yield f"| {name} | " + " | ".join(cells) + " |"


def _cell(value: float, reference: float | None, digits: int) -> str:
    ratio = "" if reference is None or value == reference else f" ({value / reference:.2f})"
    return f"{value:.{digits}f}{ratio}"


def overheads(took: dict[str, Took]) -> Iterable[str]:
    """What edgetl adds to reading a picture and the engine's own call."""
    for engine in ENGINES:
        whole, least = took[f"edgetl:{engine}"], took[f"decoded-bare:{engine}"]
        shares = ", ".join(
            f"{size} {100 * (whole.by_size[size] / least.by_size[size] - 1):+.1f} %"
            for size in SIZES
        )
        yield f"- {engine}: {shares}"


def write_section(path: Path, name: str, text: str) -> None:
    """Put a text between a document's marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the models and pictures, run everything in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--ultralytics", metavar="SITE")
    parser.add_argument("--mediapipe", metavar="SITE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=6, help="pictures of each size")
    parser.add_argument("--write", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    os.environ[SIDE_VARIABLE] = str(Bundle(given.bundle).manifest.preprocess.size_px)
    with tempfile.TemporaryDirectory() as temporary:
        contenders = line_up(given, Path(temporary))
        pictures = make_pictures(given.pictures, Path(temporary), given.count)
        took = compare(contenders, pictures, given.rounds, given.repeats)
    host = host_facts()
    text = "\n".join(
        [
            f"{host.cpu}, {host.cores} cores, Python {platform.python_version()}; median of "
            f"{given.rounds} rounds; in brackets the ratio to the hand-written script.",
            "",
            *table(took),
            "",
            "What edgetl adds to reading a picture and the engine's own call:",
            "",
            *overheads(took),
        ]
    )
    print(text)
    if given.write:
        write_section(given.write, "runtime", text)


def line_up(given: argparse.Namespace, folder: Path) -> list[Contender]:
    """Everything that is compared, with its models made in `folder`."""
    by_hand = hand_models(given.run, given.pictures, folder, ENGINES)
    ours = bundle_models(given.bundle, folder)
    contenders = []
    for engine in ENGINES:
        contenders += [
            Contender("hand", engine, by_hand[engine]),
            Contender("edgetl", engine, given.bundle),
            Contender("decoded-bare", engine, ours[engine]),
            Contender("bare", engine, ours[engine]),
        ]
    if given.mediapipe:
        contenders.append(Contender("mediapipe", "litert", ours["litert"], given.mediapipe))
    if given.ultralytics:
        model = ultralytics_model(given.ultralytics, folder)
        contenders.append(Contender("ultralytics", "onnxruntime", model, given.ultralytics))
    return contenders


def compare(
    contenders: Sequence[Contender],
    pictures: dict[str, list[Path]],
    rounds: int,
    repeats: int,
) -> dict[str, Took]:
    """Run everything in turn, `rounds` times over."""
    took: dict[str, list[Took]] = defaultdict(list)
    for number in range(rounds):
        for contender in contenders:
            took[contender.name].append(run_once(contender, pictures, repeats))
            print(f"round {number + 1}: {contender.name}", file=sys.stderr, flush=True)
    return {name: middle(all_) for name, all_ in took.items()}


def ultralytics_model(site: str, folder: Path) -> Path:
    """YOLO11n-cls, random weights, as ONNX: about the multiplications of MobileNetV2 at 224 px."""
    code = (
        "from ultralytics import YOLO; "
        f"print(YOLO('yolo11n-cls.yaml').export(format='onnx', imgsz={os.environ[SIDE_VARIABLE]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": site},
    )  # fmt: skip
    return folder / done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
