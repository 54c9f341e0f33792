"""Whether `edgetl bench` says the same as the engines' own tools and loops.

    python benchmarks/agreement.py model.edgetl [--rounds 15] [--calls 200] [--threads 1]

Against a bare loop the two take turns call by call, timed by bench's own function and by a plain
clock, so that whatever else the machine does meets both: medians, their ratio, and the ratios of
each round of calls. Against a program of its own each round runs `edgetl bench` and the program
right after one another: the least medians of all rounds, which others disturbed least, their ratio,
and the rounds' ratios. Ways to measure the same int8 artifact:

- the engine's Python API in a bare loop: `session.run`, `request.infer`, `interpreter.invoke`;
- OpenVINO's `benchmark_app` and LiteRT's `litert-benchmark`, where their packages brought them.
  The latter runs the file through LiteRT's newer CompiledModel, and not through its interpreter.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edgetl.benchmarking.latency import time_calls
from edgetl.benchmarking.run import bench
from edgetl.bundle.archive import Bundle
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.engines.registry import installed

WARM_UP = 20
ARTIFACTS = {
    "onnxruntime": "onnx-int8",
    "openvino": "openvino-int8",
    "litert": "tflite-int8",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every engine that is here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    bundle = Bundle(given.bundle)
    print("| artifact | beside | edgetl ms | other ms | ratio | median ratio | middle half |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for engine, artifact in ARTIFACTS.items():
            if not installed(engine):
                continue
            row = beside_loop(bundle, engine, artifact, given)
            print(f"| {artifact} | a bare loop | {row} |", flush=True)
            if engine in PROGRAMS:
                name, run = PROGRAMS[engine]
                program = Path(sys.executable).with_name(name)
                files = bundle.files(bundle.artifact(artifact))
                if program.exists():
                    other = partial(run, program, files, given, Path(folder))
                    row = beside_program(other, bundle, engine, artifact, given)
                    print(f"| {artifact} | {name} | {row} |", flush=True)


def beside_loop(bundle: Bundle, engine: str, artifact: str, given: argparse.Namespace) -> str:
    """Bench's way of timing and a plain one, call by call."""
    classifier = Classifier(bundle, engine=engine, artifact=artifact, threads=given.threads)
    size_px = bundle.manifest.preprocess.size_px
    pixels = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)
    files = bundle.files(bundle.artifact(artifact))
    bare = BARE[engine](files, pixels[np.newaxis], given.threads)
    ours = partial(time_calls, lambda: classifier.logits(pixels), calls=1, warm_up=0)
    pairs = np.empty((given.rounds * given.calls + WARM_UP, 2))
    for i in range(len(pairs)):
        if i % 2:
            pairs[i, 1] = once_ms(bare)
            pairs[i, 0] = ours().p50_ms
        else:
            pairs[i] = ours().p50_ms, once_ms(bare)
    pairs = pairs[WARM_UP:]
    rounds = np.median(pairs.reshape(given.rounds, given.calls, 2), axis=1)
    return cells(*np.median(pairs, axis=0), rounds[:, 0] / rounds[:, 1])


def once_ms(call: Callable[[], object]) -> float:
    """One call by a plain clock."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def beside_program(
    run: Callable[[], float], bundle: Bundle, engine: str, artifact: str, given: argparse.Namespace
) -> str:
    """`edgetl bench` and a program of the engine's own, run by run."""
    pairs = np.empty((given.rounds, 2))
    for i in range(given.rounds):
        if i % 2:
            pairs[i, 1] = run()
            pairs[i, 0] = bench_ms(bundle, engine, artifact, given)
        else:
            pairs[i] = bench_ms(bundle, engine, artifact, given), run()
    return cells(*pairs.min(axis=0), pairs[:, 0] / pairs[:, 1])


def bench_ms(bundle: Bundle, engine: str, artifact: str, given: argparse.Namespace) -> float:
    """`edgetl bench`'s median inference."""
    report = bench(
        bundle, engine=engine, artifact=artifact, threads=given.threads, calls=given.calls
    )
    return report.rows[0].inference.p50_ms


def cells(ours_ms: float, other_ms: float, ratios: np.ndarray) -> str:
    """A row of the table."""
    low, median, high = np.percentile(ratios, (25, 50, 75))
    return (
        f"{ours_ms:.3f} | {other_ms:.3f} | {ours_ms / other_ms:.3f} | {median:.3f} | "
        f"{low:.3f} to {high:.3f}"
    )


def bare_onnxruntime(
    files: tuple[bytes, ...], pixels: np.ndarray, threads: int
) -> Callable[[], object]:
    """A session as ONNX Runtime's own documents show it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: pixels}
    return lambda: session.run(None, feed)


def bare_openvino(
    files: tuple[bytes, ...], pixels: np.ndarray, threads: int
) -> Callable[[], object]:
    """A request, waited for."""
    import openvino as ov

    core = ov.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = core.read_model(model=files[0], weights=files[1])
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer([pixels], share_inputs=True)


def bare_litert(files: tuple[bytes, ...], pixels: np.ndarray, threads: int) -> Callable[[], object]:
    """The interpreter, with its input set and its output read each time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=files[0], num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def call() -> np.ndarray:
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return call


def benchmark_app(
    program: Path, files: tuple[bytes, ...], given: argparse.Namespace, folder: Path
) -> float:
    """OpenVINO's own: one synchronous request at a time."""
    (folder / "model.xml").write_bytes(files[0])
    (folder / "model.bin").write_bytes(files[1])
    command = [
        str(program), "-m", str(folder / "model.xml"), "-d", "CPU", "-hint", "none", "-api", "sync",
        "-nstreams", "1", "-nthreads", str(given.threads), "-infer_precision", "f32",
        "-niter", str(given.calls),
    ]  # fmt: skip
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    # It prints microseconds if the median is below a millisecond.
    found = re.search(r"Median:\s+([0-9.]+) (ms|us)", result.stdout)
    if not found:
        raise SystemExit(f"benchmark_app printed no median:\n{result.stdout}")
    return float(found.group(1)) / (1e3 if found.group(2) == "us" else 1)


def litert_benchmark(
    program: Path, files: tuple[bytes, ...], given: argparse.Namespace, folder: Path
) -> float:
    """LiteRT's own."""
    (folder / "model.tflite").write_bytes(files[0])
    answer = folder / "litert.json"
    command = [
        str(program), "--model", str(folder / "model.tflite"), "--num_threads", str(given.threads),
        "--num_runs", str(given.calls), "--warmup_runs", str(WARM_UP), "--result_json", str(answer),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return float(json.loads(answer.read_text())["latency"]["median_ms"])


BARE = {"onnxruntime": bare_onnxruntime, "openvino": bare_openvino, "litert": bare_litert}
PROGRAMS = {
    "openvino": ("benchmark_app", benchmark_app),
    "litert": ("litert-benchmark", litert_benchmark),
}

if __name__ == "__main__":
    main()
