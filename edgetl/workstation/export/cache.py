"""Results of earlier exports of a network, so that an export with another budget reuses them."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import edgetl
from edgetl.benchmarking.host import host_facts
from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, cache_folder, make_folder
from edgetl.core.progress import Progress
from edgetl.data.folders import Example

# If all results exceed this size, the least recently used ones are deleted.
MAX_BYTES = 2 * 1024**3
T = TypeVar("T")


class ExportCache:
    """A folder of results, each under a key that is unique within one export.

    Args:
        depends_on: everything the results depend on, as objects with a faithful `repr`. edgetl's
            own code and this machine's processor are added to it.
        progress: where to report, once, that nothing can be stored.
    """

    def __init__(self, depends_on: Iterable[object], progress: Progress) -> None:
        digest = hashlib.sha256(_own_code())
        for fact in (host_facts().cpu, *depends_on):
            digest.update(f"{fact!r}\n".encode())
        self._folder = cache_folder() / "exports" / digest.hexdigest()[:32]
        self._progress = progress
        self._writable = True
        try:
            make_folder(self._folder)
            self._folder.touch()  # its time of last use is now
            _prune(self._folder)
        except (EdgetlError, OSError) as error:
            self._give_up(error)

    def get(self, key: str, kind: Any) -> Any:
        """Return the stored value, of type `kind`; None if it is missing or damaged."""
        try:
            return msgspec.msgpack.decode(self._path(key).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    def put(self, key: str, value: object) -> None:
        """Store a value; if that fails, report it once and store nothing from then on."""
        if not self._writable:
            return
        try:
            with atomic_write(self._path(key)) as file:
                file.write(msgspec.msgpack.encode(value))
        except EdgetlError as error:
            self._give_up(error)

    def get_or_compute(self, key: str, kind: type[T], compute: Callable[[], T]) -> T:
        """Return the stored value; if there is none, compute and store it."""
        value: T | None = self.get(key, kind)
        if value is None:
            value = compute()
            self.put(key, value)
        return value

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.msgpack"

    def _give_up(self, error: Exception) -> None:
        self._writable = False
        self._progress.say(f"nothing of this export is kept for the next one: {error}")


def picture_identity(example: Example) -> tuple[str, int, int, int]:
    """Return a picture's path, label, size in bytes and modification time in ns; 0 if missing."""
    try:
        facts = example.path.stat()
    except OSError:
        return str(example.path), example.label, 0, 0
    return str(example.path), example.label, facts.st_size, facts.st_mtime_ns


def _own_code() -> bytes:
    """Return a digest of edgetl's own source, since another version's results may differ."""
    root = Path(edgetl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _prune(current: Path) -> None:
    """Delete least recently used folders, but never `current`, until the rest is small enough."""
    folders = sorted(current.parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
    sizes = {f: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= MAX_BYTES:
            return
        if folder != current:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
