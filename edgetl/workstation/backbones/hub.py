"""Weights from Hugging Face's hub, which timm publishes its networks on."""

import re
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url

from edgetl.core.errors import first_line
from edgetl.core.progress import Progress
from edgetl.fetch.registry import FetchError, download

_FILE = "model.safetensors"


def download_from_hub(repository: str, target: Path, progress: Progress) -> None:
    """Download a repository's `model.safetensors` to `target`, checked against the hub's hash.

    Raises FetchError if it cannot be downloaded, or its sha256 is not the one the hub states.
    """
    url = hf_hub_url(repository, _FILE)
    try:
        facts = get_hf_file_metadata(url)
    except Exception as error:  # that of the HTTP library, which differs by version
        raise FetchError(f"{url} cannot be downloaded: {first_line(error)}") from error
    sha256 = facts.etag or ""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise FetchError(f"{url} has no sha256 to check a download by.")
    download(facts.location, target, sha256, progress=progress)
