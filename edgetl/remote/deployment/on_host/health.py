"""Asks a running service whether it is well, and for the answer to one picture.

This file is sent to the other machine and run by its own Python: only the standard library.
"""

import http.client
import json
import urllib.request
from pathlib import Path
from typing import Any

from edgetl.remote.deployment.on_host.systemd import NotRunningError

_TIMEOUT_S = 30.0


def health(url: str) -> "dict[str, Any]":
    """What /healthz answers. Raises NotRunningError if it does not."""
    return _asked(urllib.request.Request(f"{url}/healthz"), "/healthz")


def require_health(record: "dict[str, Any]", folder: Path) -> None:
    """Check a server by its /healthz and by its answer to the release's picture.

    Args:
        record: of the release.
        folder: of the release.

    Raises NotRunningError.
    """
    if health(record["url"]).get("bundle_sha256") != record["bundle_sha256"]:
        raise NotRunningError(f"{record['url']} serves another bundle")
    _require_answer(record, folder)


def _require_answer(record: "dict[str, Any]", folder: Path) -> None:
    headers = {"content-type": "application/octet-stream"}
    if (folder / "secrets.env").exists():
        token = (folder / "secrets.env").read_text().strip().partition("=")[2].strip('"')
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        f"{record['url']}/v1/predict",
        data=(folder / "picture").read_bytes(),
        headers=headers,
        method="POST",
    )
    answer = _asked(request, "/v1/predict")
    try:
        label, probability = answer["top"][0]["label"], float(answer["top"][0]["probability"])
    except (LookupError, TypeError, ValueError):
        raise NotRunningError("/v1/predict answers no prediction") from None
    expected = record["expected"]
    near = abs(probability - expected["probability"]) <= expected["tolerance"]
    if label != expected["label"] or not near:
        raise NotRunningError(
            f"it answers '{label}' ({probability:.3f}) to a picture that is "
            f"'{expected['label']}' ({expected['probability']:.3f})"
        )


def _asked(request: urllib.request.Request, path: str) -> "dict[str, Any]":
    # Not through a proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            answer = json.load(response)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotRunningError(f"{path} does not answer: {error}") from error
    if not isinstance(answer, dict):
        raise NotRunningError(f"{path} answers no object")
    return answer
