"""The boards that can be emulated: the processor that QEMU emulates, and the memory."""

from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.schema import unknown_choice_hint

PREFIX = "emulated:"


class Board(NamedTuple):
    """A board as QEMU emulates it: only its processor's instructions and its memory.

    Attributes:
        processor: QEMU's name of the processor, e.g. "cortex-a72".
        memory_mb: memory of the smallest board of that name, in units of 2**20 bytes.
    """

    name: str
    processor: str
    memory_mb: int


BOARDS = {
    board.name: board
    for board in (
        Board("raspberry-pi-zero-2w", "cortex-a53", 512),
        Board("raspberry-pi-3b-plus", "cortex-a53", 1024),
        Board("raspberry-pi-4", "cortex-a72", 1024),
        Board("raspberry-pi-5", "cortex-a76", 2048),
    )
}


def find_board(place: str) -> Board:
    """Find a board, e.g. "emulated:raspberry-pi-4". Raises EdgetlError if it is unknown."""
    known = [PREFIX + name for name in BOARDS]
    if place not in known:
        raise EdgetlError(
            f"A bundle cannot be verified on '{place}'.", hint=unknown_choice_hint(place, known)
        )
    return BOARDS[place.removeprefix(PREFIX)]
