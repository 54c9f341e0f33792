"""Which of the workstation's libraries are installed."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping

from edgetl.core.errors import EdgetlError

TRAINING = ("torch", "torchvision", "timm", "safetensors", "matplotlib")


def require_training() -> None:
    """Raises EdgetlError, naming the extra, where a library of training is missing."""
    require(TRAINING, "train")


def require(libraries: Iterable[str], extra: str) -> None:
    """Raises EdgetlError, naming the extra of edgetl, where a library cannot be found."""
    for library in libraries:
        if not is_here(library):
            raise EdgetlError(
                f"This needs '{library}', which is not installed here.",
                hint=f"on the workstation: pip install 'edgetl[{extra}]'",
            )


def is_here(library: str) -> bool:
    """Whether a library can be found; it is not imported."""
    return importlib.util.find_spec(library) is not None


def package_of(library: str) -> str:
    """The installed package that holds a library: a build for GPUs has another name."""
    found = _packages().get(library, [library])
    plain = library.replace("_", "-")
    return plain if plain in found else found[0]


def version_of(library: str) -> str:
    """The version of an installed library."""
    return importlib.metadata.version(package_of(library))


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """Library -> packages that hold it. Reads every installed package's files, so only once."""
    return importlib.metadata.packages_distributions()
