"""The boards that can be emulated: which processor QEMU plays, and how much memory it has."""

from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.schema import unknown_choice_hint

PREFIX = "emulated:"


class Board(NamedTuple):
    """A board as QEMU plays it: its processor's instructions and its memory, nothing else of it.

    Attributes:
        processor: QEMU's name, e.g. "cortex-a72".
        memory_mb: of the smallest board of that name, 2**20 bytes each.
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
    """The board of e.g. "emulated:raspberry-pi-4". Raises EdgetlError listing the boards."""
    known = [PREFIX + name for name in BOARDS]
    if place not in known:
        raise EdgetlError(
            f"There is no '{place}' to verify on.", hint=unknown_choice_hint(place, known)
        )
    return BOARDS[place.removeprefix(PREFIX)]
