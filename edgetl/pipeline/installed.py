"""Which of the workshop's libraries are here."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from typing import Literal

from edgetl.core.errors import EdgetlError
from edgetl.runtime.engine import ENGINES

_TRAIN = ("torch", "torchvision", "timm", "safetensors", "matplotlib")
_NEEDED = {
    "train": _TRAIN,
    "export": (*_TRAIN, "onnx", "onnxruntime", "openvino", "litert_torch",
               "ai_edge_litert", "ai_edge_quantizer"),
}  # fmt: skip
_RECORDED = ("torch", "onnx", "onnxruntime", "openvino", "litert-torch",
             "ai-edge-litert", "ai-edge-quantizer")  # fmt: skip


def require_workshop(extra: Literal["train", "export"]) -> None:
    """Raises EdgetlError, naming the extra, where one of its libraries is missing."""
    for library in _NEEDED[extra]:
        if importlib.util.find_spec(library) is None:
            raise EdgetlError(
                f"This needs '{library}', which is not installed here.",
                hint=f"on the workstation: pip install 'edgetl[{extra}]'",
            )


def versions() -> dict[str, str]:
    """The versions of the libraries that make a bundle."""
    return {name: importlib.metadata.version(name) for name in _RECORDED}


def doctor_rows() -> list[tuple[str, str, str, str]]:
    """(what for, library, version or "missing", how to install it) of everything optional."""
    wanted = [("train", name) for name in _NEEDED["train"]]
    wanted += [("export", name) for name in _NEEDED["export"] if name not in _TRAIN]
    rows = [(extra, name, _version_of(name), extra) for extra, name in wanted]
    engines = [
        (f"engine {n}", i.library, _version_of(i.library), i.extra) for n, i in ENGINES.items()
    ]
    return [
        (what, name, found or "missing", "" if found else f"pip install 'edgetl[{extra}]'")
        for what, name, found, extra in [*engines, *rows]
    ]


def _version_of(library: str) -> str:
    if importlib.util.find_spec(library) is None:
        return ""
    names = _distributions().get(library, [library])
    return importlib.metadata.version(names[0])


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Library -> packages that hold it. Reads every installed package's files, so only once."""
    return importlib.metadata.packages_distributions()
