"""What earlier exports of the same network have made, so that another budget costs no new work."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import edgetl
from edgetl.bench.host import host_facts
from edgetl.core.cache import cache_folder
from edgetl.core.errors import EdgetlError
from edgetl.core.files import make_folder, replacing
from edgetl.core.progress import Progress

# Beyond this what was used longest ago is thrown away.
MOST_BYTES = 2 * 1024**3
T = TypeVar("T")


class Kept:
    """A folder of results, each by a name that tells it from all others of the same export.

    Args:
        decided_by: everything the results depend on; whatever has a faithful `repr`. edgetl's own
            code and this machine are taken into account as well.
        progress: told once where nothing can be kept.
    """

    def __init__(self, decided_by: Iterable[object], progress: Progress) -> None:
        digest = hashlib.sha256(_own_code())
        for fact in (host_facts().cpu, *decided_by):
            digest.update(f"{fact!r}\n".encode())
        self._folder = cache_folder() / "exports" / digest.hexdigest()[:32]
        self._progress = progress
        self._works = True
        try:
            make_folder(self._folder)
            self._folder.touch()  # it was used now
            _prune(self._folder)
        except (EdgetlError, OSError) as error:
            self._give_up(error)

    def find(self, name: str, kind: Any) -> Any:
        """What was kept under a name, of the type `kind`; None where nothing was."""
        try:
            return msgspec.msgpack.decode(self._path(name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, name: str, value: object) -> None:
        """Keep a value, unless there is no room for it."""
        if not self._works:
            return
        try:
            with replacing(self._path(name)) as file:
                file.write(msgspec.msgpack.encode(value))
        except EdgetlError as error:
            self._give_up(error)

    def recall(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """What was kept under a name, or else made now and kept."""
        found: T | None = self.find(name, kind)
        if found is None:
            found = make()
            self.keep(name, found)
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.msgpack"

    def _give_up(self, error: Exception) -> None:
        self._works = False
        self._progress.say(f"nothing of this export is kept for the next one: {error}")


def _own_code() -> bytes:
    """A digest of edgetl's own source: what other code has made may differ."""
    root = Path(edgetl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _prune(current: Path) -> None:
    """Throw away what was used longest ago, but never `current`, until the rest fits."""
    folders = sorted(current.parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
    sizes = {f: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= MOST_BYTES:
            return
        if folder != current:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
