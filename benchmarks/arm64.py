"""The same comparison as `runtime.py` in ARM instructions, on an emulated board.

    python benchmarks/arm64.py BUNDLE RUN PICTURES [--board raspberry-pi-4] [--write FILE]

Instructions repeat to a tenth of a percent whatever else this machine does. They know nothing of
caches and bandwidth, so they compare two ways to the same answer, and are no latency.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from contenders import SIDE
from runtime import HERE, SIZES, bundle_models, hand_models, make_pictures, write_section

from edgetl.arm_vm.host.boards import BOARDS, Board
from edgetl.arm_vm.host.scripts import run_script
from edgetl.bundle.archive import Bundle
from edgetl.cli.progress import make_progress

ENGINES = ("onnxruntime", "litert")
WAYS = ("hand", "edgetl", "decoded-bare")
_REPEATS = 2


def count(
    name: str, model: Path, pictures: dict[str, list[Path]], board: Board
) -> dict[str, float]:
    """Millions of instructions of a picture of each size; the clock there counts instructions."""
    paths = [path for some in reversed(pictures.values()) for path in some]
    there = [f"/job/{path.name}" for path in (model, *paths)]
    arguments = [name, there[0], str(_REPEATS), *there[1:]]
    lines = run_script(
        HERE / "contenders.py", arguments, board, files=[model, *paths], progress=make_progress()
    )
    found = next(json.loads(line) for line in reversed(list(lines)) if line.startswith("{"))
    return {
        size: min(ms for path in some for ms in found["ms"][f"/job/{path.name}"])
        for size, some in pictures.items()
    }


def table(counted: dict[str, dict[str, float]]) -> Iterable[str]:
    """Markdown rows, with each engine's ratio to the hand-written script."""
    yield "| | " + " | ".join(f"{size}, million instructions" for size in SIZES) + " |"
    yield "| --- |" + " ---: |" * len(SIZES)
    for name, by_size in counted.items():
        hand = counted[f"hand:{name.partition(':')[2]}"]
        cells = [
            f"{by_size[s]:.0f}" + ("" if by_size is hand else f" ({by_size[s] / hand[s]:.2f})")
            for s in SIZES
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Count everything, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--board", default="raspberry-pi-4", choices=BOARDS)
    parser.add_argument("--write", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    board = BOARDS[given.board]
    if Bundle(given.bundle).manifest.preprocess.size_px != SIDE:
        raise SystemExit(f"the board's scripts take a bundle for pictures of {SIDE} px")
    counted = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        by_hand = hand_models(given.run, given.pictures, folder, ENGINES)
        ours = bundle_models(given.bundle, folder)
        bundle = folder / "model.edgetl"
        bundle.write_bytes(given.bundle.read_bytes())
        pictures = make_pictures(given.pictures, folder, 1)
        for engine in ENGINES:
            for way, model in zip(WAYS, (by_hand[engine], bundle, ours[engine]), strict=True):
                name = f"{way}:{engine}"
                counted[name] = count(name, model, pictures, board)
    text = "\n".join(
        [
            f"{board.processor} as QEMU plays it for {board.name}, one core, one picture of each "
            "size; in brackets the ratio to the hand-written script.",
            "",
            *table(counted),
        ]
    )
    print(text)
    if given.write:
        write_section(given.write, "arm64", text)


if __name__ == "__main__":
    main()
