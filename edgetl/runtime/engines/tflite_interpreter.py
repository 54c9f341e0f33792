"""The TFLite interpreter, which both LiteRT and tflite-runtime provide."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.core.console import suppress_native_output
from edgetl.runtime.engines.spec import Engine, Files

PROFILER_NOTE = (
    "{name}'s Python package offers no profiler; the benchmark_model program of its sources has "
    "one (--enable_op_profiling=true)."
)


def load_interpreter(interpreter: Any, files: Files, threads: int, version: str) -> Engine:
    """Load a .tflite file, `files[0]`, with a library's `Interpreter` class and its version."""
    with suppress_native_output("INFO:"):  # otherwise every start prints that XNNPACK is on
        return InterpreterEngine(interpreter(model_content=files[0], num_threads=threads), version)


class InterpreterEngine:
    """A TFLite model in either library's interpreter; XNNPACK is on by default."""

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
