"""One way from a photograph to a label, alone in a process: what `runtime.py` compares.

    python benchmarks/contenders.py WAY:ENGINE MODEL REPEATS PICTURE...

Prints the first picture's class at once, and then as JSON the milliseconds that each picture took,
REPEATS times over, and the process's peak memory. Each way imports what it needs and no more.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The side of the network's pictures; `runtime.py` sets it to the bundle's.
SIDE = int(os.environ.get("CONTENDERS_SIDE_PX", 224))
Way = Callable[[str], int]


def by_hand(engine: str, model: str) -> Way:
    """What people write: decode, resize, crop, normalise, ask a model that takes floats."""
    import numpy as np
    from PIL import Image

    ask = bare_call(engine, model)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)

    def answer(path: str) -> int:
        image = Image.open(path).convert("RGB")
        scale = SIDE / min(image.size)
        wide, high = (round(side * scale) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.BILINEAR)
        left, top = (wide - SIDE) // 2, (high - SIDE) // 2
        image = image.crop((left, top, left + SIDE, top + SIDE))
        pixels = (np.asarray(image, dtype=np.float32) / 255 - mean) / std
        return int(np.argmax(ask(pixels.transpose(2, 0, 1)[np.newaxis])))

    return answer


def decoded_bare(engine: str, model: str) -> Way:
    """edgetl's pixels into the engine's own call, and nothing around it."""
    from edgetl.bundle.preprocessing import Preprocess
    from edgetl.runtime.preprocess import load_pixels

    ask = bare_call(engine, model)
    spec = Preprocess(size_px=SIDE, mean=MEAN, std=STD)
    return lambda path: int(ask(load_pixels(path, spec)[None]).argmax())


def bare(engine: str, model: str) -> Way:
    """The engine's own call alone, always with the same pixels."""
    import numpy as np

    ask = bare_call(engine, model)
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    return lambda path: int(ask(pixels).argmax())


def bare_call(engine: str, model: str) -> Callable:
    """As each engine's first page of documentation calls it, with a thread for each core."""
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda pixels: session.run(None, {name: pixels})[0]
    if engine == "openvino":
        import openvino

        compiled = openvino.compile_model(model, "CPU")
        return lambda pixels: compiled(pixels)[0]
    import os

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    taken, given = (
        d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details())
    )

    def ask(pixels: object) -> object:
        interpreter.set_tensor(taken, pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return ask


def edgetl(engine: str, model: str) -> Way:
    """A bundle through edgetl."""
    from edgetl import Classifier

    classify = Classifier(model, engine=engine)
    return lambda path: classify.labels.index(classify(path, top=1).label)


def ultralytics(engine: str, model: str) -> Way:
    """Ultralytics' predict with a classification network of theirs, as .pt or .onnx."""
    from ultralytics import YOLO

    network = YOLO(model, task="classify")
    return lambda path: int(network.predict(path, imgsz=SIDE, verbose=False)[0].probs.top1)


def mediapipe(engine: str, model: str) -> Way:
    """MediaPipe's ImageClassifier on a TFLite file."""
    import mediapipe
    from mediapipe.tasks import python
    from mediapipe.tasks.python import vision

    options = vision.ImageClassifierOptions(
        python.BaseOptions(model_asset_path=model), max_results=1
    )
    classifier = vision.ImageClassifier.create_from_options(options)

    def answer(path: str) -> int:
        result = classifier.classify(mediapipe.Image.create_from_file(path))
        return result.classifications[0].categories[0].index

    return answer


WAYS = {
    "hand": by_hand,
    "decoded-bare": decoded_bare,
    "bare": bare,
    "edgetl": edgetl,
    "ultralytics": ultralytics,
    "mediapipe": mediapipe,
}


def peak_bytes() -> int:
    """The most resident memory this program had."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - a script by hand has no pathlib
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def main(arguments: Sequence[str]) -> None:
    """HeadOutput and time."""
    name, model, repeats, *pictures = arguments
    way, _, engine = name.partition(":")
    answer = WAYS[way](engine, model)
    print(answer(pictures[0]), flush=True)
    took: dict[str, list[float]] = {picture: [] for picture in pictures}
    for _ in range(int(repeats)):
        for picture in pictures:
            start = time.perf_counter()
            answer(picture)
            took[picture].append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"ms": took, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
