"""The seam between a picture and a runtime: one protocol, one registry, one door."""

import importlib
import importlib.util
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl.core.errors import EngineError
from edgetl.core.manifest import Artifact, EngineName, Format, Isa, Manifest, Scheme
from edgetl.core.schema import unknown_choice_hint
from edgetl.core.softmax import class_logits
from edgetl.runtime.processor import adds_int8_in_16_bits, instruction_set


class Engine(Protocol):
    """A loaded network.

    Attributes:
        version: what the library calls itself, e.g. "1.31.1".
        provider: what computes, as the library names it, e.g. "CPUExecutionProvider".
    """

    version: str
    provider: str

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 [1, classes] of one picture, uint8 [1, H, W, 3]."""
        ...


class _ByClass:
    """An engine's answers with one logit a class, also where its network has a single output."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.version, self.provider = engine.version, engine.provider

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return class_logits(self._engine(pixels))


class EngineInfo(NamedTuple):
    """Where an engine's adapter is, what it runs, how to get it, and what it can compute on."""

    format: Format
    adapter: str
    library: str
    extra: str
    providers: tuple[str, ...] = ("cpu",)


_ADAPTERS = "edgetl.runtime.engines"
ENGINES: dict[EngineName, EngineInfo] = {
    "onnxruntime": EngineInfo(
        "onnx",
        f"{_ADAPTERS}.onnxruntime",
        "onnxruntime",
        "onnxruntime",
        ("cpu", "cuda", "tensorrt"),
    ),
    "litert": EngineInfo("tflite", f"{_ADAPTERS}.litert", "ai_edge_litert", "litert"),
    "openvino": EngineInfo(
        "openvino", f"{_ADAPTERS}.openvino", "openvino", "openvino", ("cpu", "gpu", "npu")
    ),
    "tflite-runtime": EngineInfo(
        "tflite", f"{_ADAPTERS}.tflite_runtime", "tflite_runtime", "tflite-runtime"
    ),
}
# The best first where nobody asked, tuned, or named a target: as in the profiles of devices/ that
# name no board, which a prediction does not wait to read.
_BEST_ON: dict[Isa | None, tuple[EngineName, ...]] = {
    "aarch64": ("litert", "onnxruntime"),
    "armv7": ("tflite-runtime",),
}
# What to run where nothing was asked for, best first.
PREFERRED_SCHEMES: tuple[Scheme, ...] = ("int8", "int8-mixed", "fp32", "fp16")


class Choice(NamedTuple):
    """An artifact, the engine to run it, and what the engine is to compute on."""

    engine: EngineName
    artifact: Artifact
    provider: str = "cpu"


def installed(name: EngineName) -> bool:
    """Whether the engine's library can be found here (it is not imported)."""
    return importlib.util.find_spec(ENGINES[name].library) is not None


def engine_name(name: str) -> EngineName:
    """Check a name typed by a user. Raises EngineError listing the engines."""
    if name not in ENGINES:
        raise EngineError(f"There is no engine '{name}'.", hint=unknown_choice_hint(name, ENGINES))
    return name


def engine_and_provider(text: str) -> tuple[EngineName, str]:
    """Check e.g. "litert" or "onnxruntime:cuda". Raises EngineError listing what there is."""
    plain, _, provider = text.partition(":")
    name = engine_name(plain)
    known = ENGINES[name].providers
    if provider and provider not in known:
        raise EngineError(
            f"Engine '{name}' has no provider '{provider}'.",
            hint=unknown_choice_hint(provider, known),
        )
    return name, provider or "cpu"


def load_engine(
    name: EngineName, model: tuple[bytes, ...], *, threads: int, provider: str = "cpu"
) -> Engine:
    """Load an artifact's files into an engine, from memory.

    This is the one door by which answers come in: behind it every network has a logit a class.

    Args:
        name: the engine.
        model: the artifact's files.
        threads: how many the engine may use on the CPU.
        provider: what it computes on, one of the engine's `providers`. There is no other where that
            one is missing.

    Raises EngineError if the engine or provider is not here, or refuses the model.
    """
    info = ENGINES[name]
    try:
        adapter = importlib.import_module(info.adapter)
    except ImportError as error:
        raise _missing(name, error) from error
    try:
        engine: Engine = adapter.load(model, threads, provider)
    except EngineError:
        raise
    except Exception as error:  # each engine has errors of its own; all mean the same here
        raise EngineError(
            f"Engine '{name}' cannot load the model: {_one_line(error)}",
            hint="update the engine, or try another with --engine.",
        ) from error
    return _ByClass(engine)


def no_provider(name: EngineName, provider: str, present: list[str]) -> EngineError:
    """The error for what an engine cannot compute on here."""
    return EngineError(
        f"Engine '{name}' has no '{provider}' here.",
        hint=f"what it has: {', '.join(present)}. Install the engine's build for {provider} and "
        f"its drivers, or run --engine {name}.",
    )


def choose(manifest: Manifest, engine: str = "auto", artifact: str | None = None) -> Choice:
    """Pick what to run.

    Args:
        manifest: the bundle's.
        engine: an engine's name, with a provider where it is not the CPU; or "auto": the first
            installed one that fits, in the order of the device the bundle was made for, else of
            this processor's profile.
        artifact: e.g. "onnx-int8"; None takes the preferred scheme.

    Raises EngineError where nothing fits, saying what to install.
    """
    names, provider = engine_order(manifest), "cpu"
    if engine != "auto":
        name, provider = engine_and_provider(engine)
        names = [name]
        if not installed(name):
            raise _missing(name, None)
    fitting = [
        Choice(name, candidate, provider)
        for name in names
        for candidate in manifest.artifacts
        if candidate.format == ENGINES[name].format and artifact in (None, candidate.name)
    ]
    if not fitting:
        raise EngineError(
            f"The bundle has nothing for engine '{engine}'"
            + (f" as '{artifact}'." if artifact else "."),
            hint="it holds: " + ", ".join(a.name for a in manifest.artifacts) + ".",
        )
    present = [choice for choice in fitting if installed(choice.engine)]
    if not present:
        extras = sorted({ENGINES[choice.engine].extra for choice in fitting})
        raise EngineError(
            "No engine that fits is installed.",
            hint=" or ".join(f"pip install 'edgetl[{extra}]'" for extra in extras),
        )
    doubts = [why_not(manifest, choice) for choice in present]
    trusted = [choice for choice, doubt in zip(present, doubts, strict=True) if not doubt]
    if not trusted:
        raise EngineError(
            doubts[0],
            hint="run another artifact or engine, e.g. openvino-fp32, onnxruntime or litert.",
        )
    return min(trusted, key=lambda c: PREFERRED_SCHEMES.index(c.artifact.scheme))


def engine_order(manifest: Manifest) -> list[EngineName]:
    """Every engine, best first: as on the device the bundle was made for, where this may be one."""
    best = _BEST_ON.get(instruction_set(), ())
    if manifest.target and made_for_such_a_machine(manifest):
        best = manifest.target.engines
    return list(dict.fromkeys([*best, *ENGINES]))


def made_for_such_a_machine(manifest: Manifest) -> bool:
    """Whether a bundle was made for a device with this machine's instruction set."""
    return manifest.target is not None and manifest.target.isa == instruction_set()


def why_not(manifest: Manifest, choice: Choice) -> str:
    """Why a choice is not to be run on this machine; empty where it may be."""
    return wrong_on_this_machine(choice) or _failed_on_the_target(manifest, choice)


def _failed_on_the_target(manifest: Manifest, choice: Choice) -> str:
    """Why an engine is not to be used on the device a bundle is for; empty where it may be."""
    if not made_for_such_a_machine(manifest):
        return ""
    for verdict in manifest.verdicts:
        named = manifest.target and verdict.board == manifest.target.device
        same = (verdict.engine, verdict.artifact) == (choice.engine, choice.artifact.name)
        if named and same and verdict.status != "right":
            return (
                f"Engine '{choice.engine}' was {verdict.status} with '{verdict.artifact}' on "
                f"{verdict.board}."
            )
    return ""


def wrong_on_this_machine(choice: Choice) -> str:
    """Why an engine's answers would be wrong here; empty where nothing is known against them.

    OpenVINO's int8 was measured to be silently wrong on ARM (Cortex-A53, A72 and A76), and on an
    x86 processor without VNNI (Haswell, emulated).
    """
    if choice.engine != "openvino" or not choice.artifact.scheme.startswith("int8"):
        return ""
    if instruction_set() in ("aarch64", "armv7"):
        return "OpenVINO's int8 gives wrong answers on ARM processors."
    if adds_int8_in_16_bits() and not choice.artifact.reduced_range:
        return (
            "OpenVINO's int8 overflows on x86 processors without VNNI, unless the bundle was made "
            "with --target x86-avx2."
        )
    return ""


def _missing(name: EngineName, error: ImportError | None) -> EngineError:
    detail = f" ({error})" if error and installed(name) else ""
    extra = ENGINES[name].extra
    return EngineError(
        f"Engine '{name}' is not installed here{detail}.", hint=f"pip install 'edgetl[{extra}]'"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
