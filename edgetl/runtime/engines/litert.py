"""The LiteRT engine for TFLite files: `ai-edge-litert`, tflite-runtime's maintained successor."""

from edgetl.runtime.engines.spec import EngineSpec, Files, Session
from edgetl.runtime.engines.tflite_interpreter import PROFILER_NOTE, load_interpreter


def load(files: Files, threads: int, provider: str) -> Session:
    """Load a .tflite file, `files[0]`; `provider` is always "cpu"."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    return load_interpreter(Interpreter, files, threads, ai_edge_litert.__version__)


def here() -> list[str]:
    """The CPU; raises an error if the interpreter cannot be imported."""
    import ai_edge_litert.interpreter  # noqa: F401

    return ["cpu"]


SPEC = EngineSpec(
    name="litert",
    format="tflite",
    library="ai_edge_litert",
    requirement="edgetl[litert]",
    load=load,
    rank={"aarch64": 1},
    here=here,
    profiler_note=PROFILER_NOTE.format(name="litert"),
)
