"""What the server accepts at most: sizes, counts and seconds. Nothing of it is unlimited."""

from typing import NamedTuple

# Bodies are held in memory until they are answered: this many of the largest size at once.
_LARGEST_BODIES = 8


class Limits(NamedTuple):
    """The server's limits.

    Attributes:
        queue: how many requests may wait for the engine; more are refused with 503.
        body_bytes: the size of a request's body.
        files: how many pictures one request may have.
        pixels: width times height of a picture.
        connections: how many connections may be open.
        header_s: seconds for a client to send a request's head.
        body_s: seconds for a client to send a request's body, or to take an answer.
        answer_s: seconds that a request may wait for its answer.
        keep_alive_s: seconds that a connection may stay open between two requests.
        drain_s: seconds for a client to end a body that is not read any more, or to take what was
            sent before a connection is closed.
        shutdown_s: seconds for the requests that are under way when the server stops.
    """

    queue: int = 32
    body_bytes: int = 20_000_000
    files: int = 16
    pixels: int = 50_000_000
    connections: int = 128
    header_s: float = 10
    body_s: float = 30
    answer_s: float = 60
    keep_alive_s: int = 15
    drain_s: float = 5
    shutdown_s: int = 10

    @property
    def held_bytes(self) -> int:
        """How many bytes of bodies are held in memory at once."""
        return _LARGEST_BODIES * self.body_bytes


DEFAULT_LIMITS = Limits()
