"""Look data over, wherever it comes from."""

from pathlib import Path

from edgetl.core.findings import CheckReport
from edgetl.core.progress import Progress, Silent
from edgetl.data.check import check_pictures
from edgetl.data.source import read_source
from edgetl.pipeline.located import locate


def check(data: Path, *, val: Path | None = None, progress: Progress | None = None) -> CheckReport:
    """Look over the pictures that `finetune` would take.

    Args:
        data: class folders, train/val(/test) folders of them, a CSV table, or
            "torchvision:NAME".
        val: class folders or a table to validate on.
        progress: where to show how far it is.

    Raises EdgetlError where there is nothing to look at.
    """
    progress = progress or Silent()
    return check_pictures(read_source(locate(data, progress), val), str(data), progress)
