"""The server's own web pages: one file each, which fetches nothing from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response


def page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a page of this folder, e.g. "page.html".

    Its Content-Security-Policy allows its own scripts and styles, by their hashes, and requests to
    this server, and nothing else.
    """
    text = (Path(__file__).parent / name).read_text()
    headers = {
        "content-security-policy": _policy(text),
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-cache",
    }

    async def answer(_: Request) -> Response:
        return Response(text, headers=headers, media_type="text/html")

    return answer


def _policy(text: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(text, 'script')}",
            f"style-src {_hashes(text, 'style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hashes(text: str, element: str) -> str:
    """The sources of a page's inline elements, as the policy names them."""
    found = re.findall(rf"<{element}>(.*?)</{element}>", text, re.S)
    digests = [hashlib.sha256(content.encode()).digest() for content in found]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
