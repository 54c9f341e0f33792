"""The engines that artifacts are measured through on the workstation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.core.manifest import EngineName, Format
from edgetl.runtime.classifier import checked_threads
from edgetl.runtime.engine import Engine, load_engine
from edgetl.runtime.preprocess import Pixels

MEASURED_WITH: dict[Format, EngineName] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tflite": "litert",
}


def loaded(name: Format, files: tuple[bytes, ...]) -> Engine:
    """A format's engine with an artifact's files in it."""
    return load_engine(MEASURED_WITH[name], files, threads=checked_threads(None))


def asked(engine: Engine, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
    """Logits float32 [N, C] of pictures, uint8 [H, W, 3], one by one as on the device."""
    return np.concatenate([engine(picture[np.newaxis]).copy() for picture in pictures])
