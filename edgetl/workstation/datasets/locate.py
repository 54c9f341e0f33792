"""Resolve the user's DATA argument to a folder or a table on this disk."""

from pathlib import Path

from edgetl.core.progress import Progress
from edgetl.workstation.libraries import require_training

_TORCHVISION = "torchvision:"


def locate(data: Path, progress: Progress) -> Path:
    """Download `torchvision:NAME` as class folders, or return a path unchanged.

    Raises EdgetlError if a data set is unknown or cannot be downloaded.
    """
    name = str(data)
    if not name.startswith(_TORCHVISION):
        return data
    require_training()
    from edgetl.workstation.datasets.prepare import prepare

    return prepare(name.removeprefix(_TORCHVISION), progress)
