"""Installed size, cold start and peak memory of the device half, one fresh environment an engine.

    python benchmarks/device_half.py model.edgetl photo.jpg [--engine NAME]...

Builds edgetl's wheel, installs it with one engine into an empty environment (tflite-runtime in its
own, with numpy < 2), and times that environment's own `edgetl bench`. Prints a Markdown table.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENGINES = {
    "onnxruntime": "onnx-int8",
    "openvino": "openvino-int8",
    "litert": "tflite-int8",
    "tflite-runtime": "tflite-int8",
}
HELP_RUNS = 15


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every engine, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--engine", dest="engines", action="append", choices=list(ENGINES))
    given = parser.parse_args(arguments)
    bundle, picture = str(given.bundle.resolve()), str(given.picture.resolve())
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        print("| engine | installed MB | packages | cold start ms | peak MB | p50 ms |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for engine in given.engines or ENGINES:
            env = Path(folder) / engine
            size_mb, packages = install(env, wheel, engine)
            row = bench(env, bundle, picture, engine, ENGINES[engine])
            print(
                f"| {engine} | {size_mb:.0f} | {packages} | {row['cold_start_ms']:.0f} | "
                f"{row['peak_memory_bytes'] / 1e6:.0f} | {row['inference']['p50_ms']:.2f} |",
                flush=True,
            )
        python = str(env / "bin" / "python")
        bare_ms = median_ms([python, "-c", "pass"])
        help_ms = median_ms([str(env / "bin" / "edgetl"), "--help"])
        print(f"\n`edgetl --help` {help_ms:.0f} ms, `python -c pass` {bare_ms:.0f} ms")


def build_wheel(folder: Path) -> Path:
    """edgetl's own wheel, as a device would install it."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    return next(folder.glob("edgetl-*.whl"))


def install(env: Path, wheel: Path, engine: str) -> tuple[float, int]:
    """Make an environment with one engine: what it adds in MB (10^6 bytes), and packages."""
    venv.create(env, with_pip=True)
    site = next((env / "lib").glob("python*/site-packages"))
    before = size_of(site)
    python = str(env / "bin" / "python")
    target = f"edgetl[{engine}] @ {wheel.as_uri()}"
    subprocess.run([python, "-m", "pip", "install", "--quiet", target], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True
    )
    names = {package["name"] for package in json.loads(listed.stdout)}
    return (size_of(site) - before) / 1e6, len(names - {"pip", "setuptools"})


def size_of(folder: Path) -> int:
    """Bytes of all files, compiled Python included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bench(env: Path, bundle: str, picture: str, engine: str, artifact: str) -> dict:
    """The environment's own figures for one artifact."""
    command = [str(env / "bin" / "edgetl"), "bench", bundle, picture]
    options = ["--engine", engine, "--artifact", artifact, "--json", "-"]
    result = subprocess.run([*command, *options], check=True, capture_output=True, cwd=env)
    return json.loads(result.stdout)["rows"][0]


def median_ms(command: list[str]) -> float:
    """Median wall time of a whole process."""
    times = []
    for _ in range(HELP_RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


if __name__ == "__main__":
    main()
