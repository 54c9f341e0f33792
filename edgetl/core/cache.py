"""The folder of what can be fetched or made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where fetched and made files are kept: $EDGETL_CACHE, else the user's cache folder."""
    chosen = os.environ.get("EDGETL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"
