"""The server's own web pages: one file each, which fetches nothing from elsewhere."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from edgetl.core.html import inline_hashes


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
            f"script-src {inline_hashes(text, 'script')}",
            f"style-src {inline_hashes(text, 'style')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
