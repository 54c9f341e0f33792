"""LiteRT (`ai-edge-litert`), the maintained successor of TFLite."""

import ai_edge_litert
from ai_edge_litert.interpreter import Interpreter

from edgetl.core.console import native_chatter_dropped
from edgetl.runtime.engine import Engine
from edgetl.runtime.engines.interpreter import InterpreterEngine


def load(model: tuple[bytes, ...], threads: int, provider: str) -> Engine:
    """`model`: (the .tflite file,). `provider` is the CPU, which is all there is."""
    with native_chatter_dropped("INFO:"):  # every start would say that XNNPACK is on
        interpreter = Interpreter(model_content=model[0], num_threads=threads)
        return InterpreterEngine(interpreter, ai_edge_litert.__version__)
