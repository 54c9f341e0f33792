"""What the user names as DATA -> a folder or a table on this disk."""

from pathlib import Path

from edgetl.core.progress import Progress
from edgetl.pipeline.installed import require_workshop

_TORCHVISION = "torchvision:"


def locate(data: Path, progress: Progress) -> Path:
    """`torchvision:NAME` is fetched and laid out as class folders; a path is itself.

    Raises EdgetlError where a data set is unknown or cannot be had.
    """
    name = str(data)
    if not name.startswith(_TORCHVISION):
        return data
    require_workshop("train")
    from edgetl.datasets.prepare import prepare

    return prepare(name.removeprefix(_TORCHVISION), progress)
