"""Networks as OpenVINO compiled them for this processor, kept for the next start.

Compiling a MobileNetV2 in int8 takes some 0.35 s and 25 MB, taking in what was kept 0.1 s. OpenVINO
has a cache of its own (`CACHE_DIR`), which does not notice bits that have changed.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, cache_folder, make_folder
from edgetl.runtime.engines.openvino_bindings import ov
from edgetl.runtime.processor import processor_features

# A file's first bytes are the sha256 of the others.
_DIGEST_BYTES = 32
_MOST = 32


def compiled(core: Any, xml: bytes, weights: bytes, options: Mapping[str, object]) -> Any:
    """The network for the CPU, compiled now or taken in from an earlier start.

    Where nothing can be kept it is compiled every time. Raises what OpenVINO raises.
    """
    path = cached_file(xml, weights, options)
    blob = _read(path)
    if blob is not None:
        with suppress(RuntimeError):  # not for OpenVINO to read: it is made anew
            return core.import_model(blob, "CPU", dict(options))
    network = core.compile_model(core.read_model(model=xml, weights=weights), "CPU", dict(options))
    with suppress(EdgetlError, OSError, RuntimeError):
        _keep(path, network.export_model().getvalue())
    return network


def cached_file(xml: bytes, weights: bytes, options: Mapping[str, object]) -> Path:
    """Where the network is kept: another network, option, OpenVINO or processor has another."""
    facts = f"{ov.__version__} {sorted(options.items())} {processor_features()}"
    digest = hashlib.sha256()
    for part in (xml, weights, facts.encode()):
        digest.update(hashlib.sha256(part).digest())
    return cache_folder() / "openvino" / f"{digest.hexdigest()[:32]}.blob"


def _read(path: Path) -> bytes | None:
    """What is kept, if it is as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    blob = content[_DIGEST_BYTES:]
    return blob if hashlib.sha256(blob).digest() == content[:_DIGEST_BYTES] else None


def _keep(path: Path, blob: bytes) -> None:
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(hashlib.sha256(blob).digest() + blob)
    by_age = sorted(path.parent.glob("*.blob"), key=lambda kept: kept.stat().st_mtime)
    for old in by_age[:-_MOST]:
        old.unlink(missing_ok=True)
