"""The tflite-runtime engine: TFLite files on boards for which LiteRT has no wheel.

Its last release, 2.14.0, needs numpy < 2.
"""

from edgetl.runtime.engines.spec import EngineSpec, Files, Session
from edgetl.runtime.engines.tflite_interpreter import PROFILER_NOTE, load_interpreter


def load(files: Files, threads: int, provider: str) -> Session:
    """Load a .tflite file, `files[0]`; `provider` is always "cpu"."""
    import tflite_runtime
    from tflite_runtime.interpreter import Interpreter

    return load_interpreter(Interpreter, files, threads, tflite_runtime.__version__)


def here() -> list[str]:
    """The CPU; raises an error if the interpreter cannot be imported."""
    import tflite_runtime.interpreter  # noqa: F401

    return ["cpu"]


SPEC = EngineSpec(
    name="tflite-runtime",
    format="tflite",
    library="tflite_runtime",
    requirement="edgetl[tflite-runtime]",
    load=load,
    rank={"armv7": 1},
    here=here,
    profiler_note=PROFILER_NOTE.format(name="tflite-runtime"),
)
