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
    """Return a format's spec by name. Raises EdgetlError that lists the formats if unknown."""
    if name not in FORMATS:
        raise EdgetlError(f"There is no format '{name}'.", hint=unknown_choice_hint(name, FORMATS))
    return FORMATS[name]


def format_libraries(formats: Iterable[str] | None = None) -> list[str]:
    """List the libraries that write `formats` (None: all registered ones), each once."""
    names = FORMATS if formats is None else formats
    return list(dict.fromkeys(library for name in names for library in FORMATS[name].libraries))


def require_libraries(formats: Iterable[str]) -> None:
    """Raises EdgetlError if a library that exports to these formats is missing."""
    require((*TRAINING, *format_libraries(formats)), "export")


def versions() -> dict[str, str]:
    """Return the versions of torch and of the installed export libraries, by package."""
    libraries = ("torch", *format_libraries())
    return {package_of(name): version_of(name) for name in libraries if is_here(name)}
