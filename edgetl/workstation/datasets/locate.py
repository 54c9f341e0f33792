"""What the user names as DATA -> a folder or a table on this disk."""

from pathlib import Path

from edgetl.core.progress import Progress
from edgetl.workstation.libraries import require_training

_TORCHVISION = "torchvision:"


def locate(data: Path, progress: Progress) -> Path:
    """`torchvision:NAME` is fetched and laid out as class folders; a path is itself.

    Raises EdgetlError where a data set is unknown or cannot be had.
    """
    name = str(data)
    if not name.startswith(_TORCHVISION):
        return data
    require_training()
    from edgetl.workstation.datasets.prepare import prepare

    return prepare(name.removeprefix(_TORCHVISION), progress)
