"""Asks a running service whether it is well, and for the answer to one picture.

This file is sent to the other machine and run by its own Python: only the standard library.
"""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from edgetl.remote.deployment.on_host.systemd import NotRunningError

_TIMEOUT_S = 30.0
# A server that has said it is ready may still be opening its socket.
_TRIES, _BETWEEN_S = 5, 0.5


def health(url: str) -> "dict[str, Any]":
    """What /healthz answers. Raises NotRunningError if it does not."""
    return _asked(urllib.request.Request(f"{url}/healthz"), "/healthz")


def require_health(record: "dict[str, Any]", folder: Path) -> "dict[str, Any]":
    """Check a server by its /healthz and by its answer to the release's picture.

    Args:
        record: of the release.
        folder: of the release.

    Returns what /healthz answers. Raises NotRunningError.
    """
    for left in reversed(range(_TRIES)):
        try:
            said = health(record["url"])
            break
        except NotRunningError:
            if not left:
                raise
            time.sleep(_BETWEEN_S)
    if said.get("bundle_sha256") != record["bundle_sha256"]:
        raise NotRunningError(f"{record['url']} serves another bundle")
    _require_answer(record, folder)
    return said


def _require_answer(record: "dict[str, Any]", folder: Path) -> None:
    headers = {"content-type": "application/octet-stream"}
    if (folder / "token.env").exists():
        token = (folder / "token.env").read_text().strip().partition("=")[2]
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"{record['url']}/v1/predict",
        data=(folder / "picture").read_bytes(),
        headers=headers,
        method="POST",
    )
    best = _asked(request, "/v1/predict")["top"][0]
    expected = record["expected"]
    near = abs(best["probability"] - expected["probability"]) <= expected["tolerance"]
    if best["label"] != expected["label"] or not near:
        raise NotRunningError(
            f"it answers '{best['label']}' ({best['probability']:.3f}) to a picture that is "
            f"'{expected['label']}' ({expected['probability']:.3f})"
        )


def _asked(request: urllib.request.Request, path: str) -> "dict[str, Any]":
    # Not through a proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (OSError, ValueError, urllib.error.HTTPError) as error:
        raise NotRunningError(f"{path} does not answer: {error}") from error
