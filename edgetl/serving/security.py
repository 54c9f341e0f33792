"""Who may use the server: a token, and no pages of other sites."""

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgetl.serving.refusals import RefusedError

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_READING = ("GET", "HEAD")
_EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware that refuses requests of other sites' pages.

    Without it, a page that someone visits with a browser on this machine could use the server: by
    posting to it, or through a name that its owner points at this machine (DNS rebinding).

    Args:
        app: the application.
        hosts: the names that a Host header may have, beside this machine's own, e.g. "localhost";
            None: any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else {*_OWN_NAMES, *map(_plain, hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and add headers to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _EVERYWHERE.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope["method"], Headers(scope=scope))
        except RefusedError as refused:
            await refused.response()(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _check(self, method: str, headers: Headers) -> None:
        # Browsers always send a Host header; simple health checks may not.
        name = _host_name(headers.get("host", "localhost"))
        if self._hosts is not None and name not in self._hosts:
            raise RefusedError(
                403,
                f"This server is not called '{name}'.",
                hint=f"if it is, start it with --allow-host {name}",
            )
        origin = headers.get("origin")
        if origin is not None and method not in _READING and not self._is_own(origin, headers):
            raise RefusedError(403, f"Pages of '{origin}' may not use this server.")

    def _is_own(self, origin: str, headers: Headers) -> bool:
        """Whether a page is this server's, or of a host that was named (as behind a proxy)."""
        site = origin.partition("://")[2].lower()
        named = (self._hosts or set()) - _OWN_NAMES
        return site == headers.get("host", "").lower() or _host_name(site) in named


class RequireToken:
    """ASGI middleware that refuses requests without the token.

    Args:
        app: the application.
        token: the token; None: every request is let through.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request with the token."""
        if self._token is not None and scope["type"] == "http":
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
            if not right or scheme.lower() != "bearer":
                raise RefusedError(
                    401,
                    "This needs the server's token.",
                    hint="send the header 'Authorization: Bearer TOKEN'.",
                    headers={"www-authenticate": 'Bearer realm="edgetl"'},
                )
        await self._app(scope, receive, send)


def _host_name(host: str) -> str:
    """The name of a Host header, without its port: "[::1]:8000" is "::1"."""
    if host.startswith("["):
        return _plain(host[1:].partition("]")[0])
    return _plain(host.partition(":")[0])


def _plain(name: str) -> str:
    return name.lower().rstrip(".")
