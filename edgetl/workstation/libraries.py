"""Which of the workstation's libraries are installed."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping

from edgetl.core.errors import EdgetlError

TRAINING = ("torch", "torchvision", "timm", "safetensors", "matplotlib")
REPORT = (*TRAINING, "jinja2", "captum")
SEARCH = (*TRAINING, "optuna")


def require_training() -> None:
    """Raise EdgetlError, naming the extra to install, if a training library is missing."""
    require(TRAINING, "train")


def require_report() -> None:
    """Raise EdgetlError, naming the extra to install, if a library of reports is missing."""
    require(REPORT, "train")


def require_search() -> None:
    """Raise EdgetlError, naming the extra to install, if a library of searches is missing."""
    require(TRAINING, "train")
    require(SEARCH, "search")


def require(libraries: Iterable[str], extra: str) -> None:
    """Raise EdgetlError, naming the extra of edgetl to install, if a library is missing."""
    for library in libraries:
        if not is_here(library):
            raise EdgetlError(
                f"This needs '{library}', which is not installed here.",
                hint=f"on the workstation: pip install 'edgetl[{extra}]'",
            )


def is_here(library: str) -> bool:
    """Whether a library is installed; it is not imported."""
    return importlib.util.find_spec(library) is not None


def package_of(library: str) -> str:
    """The installed package that provides a library: GPU builds have names of their own."""
    packages = _packages().get(library, [library])
    usual_name = library.replace("_", "-")
    return usual_name if usual_name in packages else packages[0]


def version_of(library: str) -> str:
    """The version of an installed library."""
    return importlib.metadata.version(package_of(library))


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    """The packages that provide each library; cached, as it reads every package's files."""
    return importlib.metadata.packages_distributions()
