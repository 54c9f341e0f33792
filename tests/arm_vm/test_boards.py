import pytest

from edgetl.arm_vm.host.boards import BOARDS, find_board
from edgetl.core.errors import EdgetlError


def test_each_board_has_the_processor_it_is_sold_with() -> None:
    assert {name: (b.processor, b.memory_mb) for name, b in BOARDS.items()} == {
        "raspberry-pi-zero-2w": ("cortex-a53", 512),
        "raspberry-pi-3b-plus": ("cortex-a53", 1024),
        "raspberry-pi-4": ("cortex-a72", 1024),
        "raspberry-pi-5": ("cortex-a76", 2048),
    }


@pytest.mark.parametrize("place", ["emulated:raspberry-pi4", "raspberry-pi-4"])
def test_an_unknown_place_gets_the_nearest_board(place: str) -> None:
    with pytest.raises(EdgetlError) as caught:
        find_board(place)
    assert str(caught.value) == f"A bundle cannot be verified on '{place}'."
    assert caught.value.hint.startswith("did you mean 'emulated:raspberry-pi-4'? The choices are: ")
