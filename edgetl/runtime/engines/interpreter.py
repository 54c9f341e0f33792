"""The TFLite interpreter, as LiteRT and tflite-runtime both offer it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class InterpreterEngine:
    """A flatbuffer in an interpreter of either library; XNNPACK is on by itself."""

    provider = "CPU"

    def __init__(self, interpreter: Any, version: str) -> None:
        self.version = version
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        logits: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return logits
