"""The fastest way to run a bundle on this machine, as measured by `edgetl tune`."""

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
    """The fastest combination of artifact, engine, provider and threads.

    Attributes:
        artifact: e.g. "tflite-int8".
        engine: the engine that ran it.
        provider: what the engine computed on, e.g. "cpu".
        threads: number of threads.
        p50_ms: the median time of an inference in milliseconds.
    """

    artifact: str
    engine: Name
    provider: str
    threads: int
    p50_ms: float


def read_tuned(bundle: Bundle) -> Tuned | None:
    """The result of `edgetl tune` for this bundle on this machine; None if there is none."""
    path = tuned_file(bundle)
    try:
        return from_json(read_document(path), Tuned, where=f"'{path}'")
    except SchemaError:  # missing, or written by another version of edgetl
        return None


def write_tuned(bundle: Bundle, tuned: Tuned) -> Path:
    """Store the result of tuning; returns its path. Raises EdgetlError if it cannot be written."""
    path = tuned_file(bundle)
    make_folder(path.parent)
    write_text(path, to_json(tuned))
    return path


def tuned_file(bundle: Bundle) -> Path:
    """The path of the result, which depends on the bundle's contents and this machine."""
    host = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
    key = hashlib.sha256(f"{bundle.digest} {host}".encode()).hexdigest()
    return cache_folder() / "tuned" / f"{key[:32]}.json"
