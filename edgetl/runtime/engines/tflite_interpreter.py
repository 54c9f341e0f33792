"""The TFLite interpreter, which both LiteRT and tflite-runtime provide."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.core.console import suppress_native_output
from edgetl.runtime.engines.spec import Files, Session

PROFILER_NOTE = (
    "{name}'s Python package offers no profiler; the benchmark_model program of its sources has "
    "one (--enable_op_profiling=true)."
)


def load_interpreter(interpreter: Any, files: Files, threads: int, version: str) -> Session:
    """Load a .tflite file, `files[0]`, with a library's `Interpreter` class and its version."""
    with suppress_native_output("INFO:"):  # otherwise every start prints that XNNPACK is on
        return InterpreterSession(interpreter(model_content=files[0], num_threads=threads), version)


class InterpreterSession:
    """A TFLite model in either library's interpreter; XNNPACK is on by default."""

    provider = "CPU"

    def __init__(self, interpreter: Any, version: str) -> None:
        self.version = version
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in interpreter.get_output_details()]

    def __call__(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output) for output in self._outputs]
