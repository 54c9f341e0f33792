"""Artifact formats by name, and the libraries that write them."""

from collections.abc import Iterable

from edgetl.core.errors import EdgetlError
from edgetl.core.plugins import Registry
from edgetl.core.schema import unknown_choice_hint
from edgetl.workstation.export.formats.spec import FormatSpec
from edgetl.workstation.libraries import TRAINING, is_here, package_of, require, version_of

_HERE = "edgetl.workstation.export.formats"
FORMATS: Registry[FormatSpec] = Registry(
    "edgetl.formats",
    FormatSpec,
    {name: f"{_HERE}.{name}:SPEC" for name in ("onnx", "openvino", "tflite")},
)


def format_spec(name: str) -> FormatSpec:
    """The spec of a format that a user named. Raises EdgetlError that lists the formats."""
    if name not in FORMATS:
        raise EdgetlError(f"There is no format '{name}'.", hint=unknown_choice_hint(name, FORMATS))
    return FORMATS[name]


def format_libraries(formats: Iterable[str] | None = None) -> list[str]:
    """The libraries that formats (None: all registered ones) are written with, each once."""
    names = FORMATS if formats is None else formats
    return list(dict.fromkeys(library for name in names for library in FORMATS[name].libraries))


def require_libraries(formats: Iterable[str]) -> None:
    """Raises EdgetlError where a library is missing that exporting to these formats needs."""
    require((*TRAINING, *format_libraries(formats)), "export")


def versions() -> dict[str, str]:
    """The versions of torch and of the installed libraries that write artifacts, by package."""
    libraries = ("torch", *format_libraries())
    return {package_of(name): version_of(name) for name in libraries if is_here(name)}
