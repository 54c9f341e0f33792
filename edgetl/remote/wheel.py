"""The running edgetl as a wheel, made of its own files: no network, no build tool.

A wheel is a zip with a list of its files' hashes (PEP 427).
"""

import base64
import functools
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.shipped import shipped_folder

PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = ("recipes", "devices")
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgetl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# The earliest date that a zip can hold, so that the same files give the same wheel.
_DATE = (1980, 1, 1, 0, 0, 0)


class Wheel(NamedTuple):
    """A wheel of edgetl.

    Attributes:
        version: of edgetl.
        file: its file name, e.g. "edgetl-0.1.0-py3-none-any.whl".
        content: the file's content.
        key: 16 hex digits that identify the files in it.
    """

    version: str
    file: str
    content: bytes
    key: str


@functools.cache
def own_wheel() -> Wheel:
    """Make a wheel of the edgetl that is running, with its recipes and device profiles.

    Raises EdgetlError if edgetl was not installed but only imported from a folder.
    """
    try:
        package = importlib.metadata.distribution("edgetl")
    except importlib.metadata.PackageNotFoundError:
        raise EdgetlError(
            "edgetl is not installed here, so it cannot be installed elsewhere.",
            hint="install it: pip install -e . in the checkout.",
        ) from None
    name = f"edgetl-{package.version}"
    about = f"{name}.dist-info"
    files = _code() | {f"{about}/WHEEL": _WHEEL.encode()}
    for part in ("METADATA", "entry_points.txt", "licenses/LICENSE"):
        if text := package.read_text(part):
            files[f"{about}/{part}"] = text.encode()
    record = "".join(f"{path},sha256={_digest(files[path])},{len(files[path])}\n" for path in files)
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    key = hashlib.sha256(files[f"{about}/RECORD"]).hexdigest()[:16]
    return Wheel(package.version, f"{name}-py3-none-any.whl", _zipped(files), key)


def _code() -> dict[str, bytes]:
    """The contents of the package's files by their paths in the wheel, sorted."""
    found = {path.relative_to(PACKAGE.parent): path for path in PACKAGE.rglob("*")}
    for kind in _SHIPPED:
        inside = Path(PACKAGE.name, "shipped", kind)
        found |= {inside / path.name: path for path in shipped_folder(kind).glob("*.yaml")}
    return {
        path.as_posix(): found[path].read_bytes()
        for path in sorted(found)
        if found[path].is_file() and "__pycache__" not in path.parts
    }


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, date_time=_DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
