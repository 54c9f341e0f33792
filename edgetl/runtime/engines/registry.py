"""The registry of engines, and the function that loads any of them."""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import EngineError
from edgetl.core.plugins import Registry
from edgetl.core.schema import unknown_choice_hint
from edgetl.runtime.engines.spec import EngineSpec, Files, Session
from edgetl.runtime.softmax import class_logits

_HERE = "edgetl.runtime.engines"
ENGINES: Registry[EngineSpec] = Registry(
    "edgetl.engines",
    EngineSpec,
    {
        "onnxruntime": f"{_HERE}.onnxruntime:SPEC",
        "litert": f"{_HERE}.litert:SPEC",
        "openvino": f"{_HERE}.openvino:SPEC",
        "tflite-runtime": f"{_HERE}.tflite_runtime:SPEC",
    },
)


class Engine:
    """A network loaded in an engine.

    Attributes:
        version: the library's own version, e.g. "1.31.1".
        provider: the library's name for what it computes on, e.g. "CPUExecutionProvider".
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.version, self.provider = session.version, session.provider

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one picture, uint8 [1, H, W, 3]; returns one logit per class, float32 [1, C]."""
        return self.explain(pixels)[0]

    def explain(
        self, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Run one picture, uint8 [1, H, W, 3].

        Returns its logits, float32 [1, C], and its feature map, float32 [h, w, channels]; None if
        the artifact has no such output.
        """
        outputs = self._session(pixels)
        logits = next((output for output in outputs if output.ndim != 4), outputs[0])
        maps = next((output[0] for output in outputs if output.ndim == 4), None)
        return class_logits(logits), maps


def installed(name: str) -> bool:
    """Whether a registered engine's library is installed; does not import it."""
    return importlib.util.find_spec(ENGINES[name].library) is not None


def installed_version(library: str) -> str | None:
    """The installed version of a library, or of its GPU build, e.g. onnxruntime-gpu."""
    import importlib.metadata  # takes tens of milliseconds, and prediction has no use for it

    package = library.replace("_", "-")
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def engine_spec(name: str) -> EngineSpec:
    """The spec of an engine. Raises EngineError that lists the engines if there is no such one."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine '{name}'.", hint=unknown_choice_hint(name, ENGINES))
    return ENGINES[name]


def engines_of(format_: str) -> list[EngineSpec]:
    """The engines that run a format, in the registry's order."""
    return [spec for spec in ENGINES.values() if spec.format == format_]


def no_engine_for(format_: str) -> EngineError:
    """The error for a format that no registered engine runs."""
    return EngineError(
        f"No engine that is registered here runs the format '{format_}'.",
        hint=f"install the package that adds one (an entry point of {ENGINES.group}).",
    )


def load_engine(name: str, files: Files, *, threads: int, provider: str = "cpu") -> Engine:
    """Load an artifact's files into an engine, from memory.

    Args:
        name: a registered engine.
        files: the artifact's files.
        threads: how many threads the engine may use on the CPU.
        provider: what it computes on, one of the engine's `providers`; there is no fallback to
            another one.

    Returns an engine with one logit per class (see `class_logits`). Raises EngineError if the
    engine or the provider is missing, or the engine cannot load the model.
    """
    spec = ENGINES[name]
    if not installed(name):
        raise missing_engine(spec)
    try:
        return Engine(spec.load(files, threads, provider))
    except EngineError:
        raise
    except ImportError as error:
        raise missing_engine(spec, error) from error
    except Exception as error:  # each engine raises its own errors; all mean the same here
        raise EngineError(
            f"Engine '{name}' cannot load the model: {_one_line(error)}",
            hint="update the engine, or try another with --engine.",
        ) from error


def missing_engine(spec: EngineSpec, error: ImportError | None = None) -> EngineError:
    """The error for an engine that is not installed, or whose library cannot be imported."""
    detail = f" ({error})" if error and installed(spec.name) else ""
    return EngineError(
        f"Engine '{spec.name}' is not installed here{detail}.", hint=spec.install_hint
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
