"""What was found fastest for a bundle on this machine, by `edgetl tune`."""

import hashlib
import os
import platform
from pathlib import Path

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Name
from edgetl.core.errors import SchemaError
from edgetl.core.files import cache_folder, make_folder, write_text
from edgetl.core.schema import Frozen, from_json, read_document, to_json


class Tuned(Frozen, kw_only=True, frozen=True):
    """A way to run a bundle.

    Attributes:
        artifact: e.g. "tflite-int8".
        engine, provider: what ran it, and what that computed on, e.g. "cpu".
        threads: how many it had.
        p50_ms: the median of its inferences in milliseconds.
    """

    artifact: str
    engine: Name
    provider: str
    threads: int
    p50_ms: float


def read_tuned(bundle: Bundle) -> Tuned | None:
    """What was found for this bundle on this machine; None where nobody has looked."""
    path = tuned_file(bundle)
    try:
        return from_json(read_document(path), Tuned, where=f"'{path}'")
    except SchemaError:  # not there, or of another edgetl: as if nobody had looked
        return None


def write_tuned(bundle: Bundle, tuned: Tuned) -> Path:
    """Keep what was found. Raises EdgetlError where it cannot be written."""
    path = tuned_file(bundle)
    make_folder(path.parent)
    write_text(path, to_json(tuned))
    return path


def tuned_file(bundle: Bundle) -> Path:
    """A file of this bundle's contents and this machine."""
    host = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
    key = hashlib.sha256(f"{bundle.digest} {host}".encode()).hexdigest()
    return cache_folder() / "tuned" / f"{key[:32]}.json"
