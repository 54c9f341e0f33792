"""HTTP connections with time limits that uvicorn does not have, and a limit to their number."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgetl.serving.limits import Limits
from edgetl.serving.refusals import RETRY_AFTER_S

# What a client has to do in time: send a request's head, end a body that is not read any more, take
# an answer, and take the last bytes before the connection is closed.
_Due = Literal["head", "rest", "taking", "end"]

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %d\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n" % RETRY_AFTER_S
)
# How long a client over the limit has to read that it is; it must not take a place for long.
_FAREWELL_S = 1.0


class LimitedProtocol(H11Protocol):
    """A connection whose client must send and take what is due in time.

    uvicorn itself limits the time between two requests, and the application that of a request's
    body. What remains is limited here: the time to send a request's head, to end a body that is not
    read any more, and to take an answer.

    Args:
        limits: seconds, and the number of connections.
        rejected: is called for a connection over that number.
        arguments: uvicorn's.
    """

    def __init__(self, *, limits: Limits, rejected: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits, self._rejected = limits, rejected
        self._timers: dict[_Due, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse the connection."""
        super().connection_made(transport)
        if len(self.connections) <= self._limits.connections:
            self._expect("head")
        else:
            self._rejected()
            self._refuse(transport)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._expect_more()

    def on_response_complete(self) -> None:
        """Wait for the rest of the request, if there is one; uvicorn waits for the next."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect("end")
        elif self.conn.their_state is not h11.IDLE:
            self._expect_more()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was written."""
        super().pause_writing()
        self._expect("taking")

    def resume_writing(self) -> None:
        """Stop waiting: the client has taken it."""
        super().resume_writing()
        self._expect_no("taking")

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no request followed."""
        super().timeout_keep_alive_handler()
        self._expect("end")

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
        super().connection_lost(exc)
        for due in tuple(self._timers):
            self._expect_no(due)

    def _refuse(self, transport: asyncio.Transport) -> None:
        """Tell a client that there are too many, without reading its request."""
        if len(self.connections) > 2 * self._limits.connections:
            transport.abort()
            return
        transport.pause_reading()
        transport.write(_TOO_MANY)
        transport.write_eof()
        self.loop.call_later(_FAREWELL_S, transport.abort)

    def _expect_more(self) -> None:
        """Limit the time for what the client sends, unless the application does."""
        states = self.conn.our_state, self.conn.their_state
        if states[1] is h11.IDLE:
            self._expect("head")
        else:
            self._expect_no("head")
        if states == (h11.DONE, h11.SEND_BODY):
            self._expect("rest")
        else:
            self._expect_no("rest")

    def _expect(self, due: _Due) -> None:
        """Begin to wait for something, if that has not begun already."""
        limits = self._limits
        seconds = {"head": limits.header_s, "taking": limits.body_s}.get(due, limits.drain_s)
        if due not in self._timers:
            self._timers[due] = self.loop.call_later(seconds, self._give_up, due)

    def _expect_no(self, due: _Due) -> None:
        timer = self._timers.pop(due, None)
        if timer:
            timer.cancel()

    def _give_up(self, due: _Due) -> None:
        if due == "head" and not self.transport.is_closing():
            if self.conn.trailing_data[0]:  # else it is an idle connection: nothing is answered
                self.transport.write(_TOO_SLOW)
            self.transport.close()
            self._expect("end")
        else:
            self.transport.abort()
