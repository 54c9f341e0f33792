"""Runs the application with uvicorn: signals, time limits, the service manager."""

import asyncio
import functools
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from edgetl.core.systemd import Systemd
from edgetl.serving.address import BACKLOG
from edgetl.serving.limits import Limits
from edgetl.serving.protocol import LimitedProtocol


def run(app: Starlette, listener: socket.socket, limits: Limits, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then answer the requests that have been received.

    Args:
        app: made by `edgetl.serving.app.make_app`.
        listener: made by `edgetl.serving.address.listen`.
        limits: of the connections, and of the time to stop.
        ready: is called when requests are answered.
    """
    # What is wrong with a request is answered; a client must not be able to fill the log with it.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    rejected = functools.partial(app.state.metrics.rejected, "connections")
    connection: Any = functools.partial(LimitedProtocol, limits=limits, rejected=rejected)
    config = uvicorn.Config(
        app,
        http=connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=limits.shutdown_s,
    )
    _Server(config, app, ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which tells the service manager and ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, app: Starlette, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._predictor, self._ready = app.state.predictor, ready
        self._systemd = Systemd()
        self._watchdog: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self._ready()
        self._systemd.ready("answering pictures")
        if self._systemd.watchdog_every_s:
            self._watchdog = asyncio.create_task(self._feed(self._systemd.watchdog_every_s))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and end the requests that are under way."""
        self._predictor.stopping = True
        self._systemd.stopping()
        await super().shutdown(sockets)
        if self._watchdog:
            self._watchdog.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have signals end the server; unlike uvicorn's own, it does not raise them again."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _feed(self, every_s: float) -> None:
        """Tell the watchdog that the server works, as long as it does."""
        while True:
            if self._predictor.stopping or await self._predictor.works():
                self._systemd.alive()
            await asyncio.sleep(every_s)
