"""Which engine is installed on a machine, from what boards print in /proc."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgetl.core.errors import EngineError
from edgetl.remote.address import Address, RemoteError
from edgetl.remote.engines import best_engine, checked_engine, packaged_engines
from edgetl.remote.environment import EnvironmentRecord, recorded
from edgetl.remote.facts import SystemFacts, read_facts, require_usable
from edgetl.remote.offline import platform_of

MACHINES = Path(__file__).parents[1] / "devices" / "machines"
BOARD = Address("board", "board")


def facts_of(machine: str, kernel: str = "aarch64", **other: Any) -> SystemFacts:
    """The facts of a machine whose /proc was written by hand."""
    proc = MACHINES / machine / "proc"

    def text(name: str) -> str:
        return (proc / name).read_text() if (proc / name).is_file() else ""

    made = {
        "python": "3.11.2",
        "executable": "/usr/bin/python3",
        "can_make_environments": True,
        "kernel": kernel,
        "bits": 64,
        "libc": "glibc",
        "libc_version": "2.36",
        "folder": "/home/pi/.cache/edgetl/remote",
        "free_bytes": 10**10,
        "environment": None,
        "cpuinfo": text("cpuinfo"),
        "model": text("device-tree/model"),
        "compatible": text("device-tree/compatible"),
    }
    return SystemFacts(**(made | other))


def test_a_board_gets_the_engine_that_its_profile_names_first() -> None:
    pi = facts_of("pi-4")
    assert pi.recognised().device.name == "raspberry-pi-4"  # type: ignore[union-attr]
    assert packaged_engines(pi)[:2] == ["litert", "onnxruntime"]
    assert best_engine(pi, "pi") == "litert"
    assert best_engine(pi, "pi", {"onnx", "openvino"}) == "onnxruntime"


def test_a_32_bit_python_has_one_engine_and_a_new_one_none() -> None:
    old = facts_of("pi-3b-plus", kernel="armv7l", bits=32)
    assert packaged_engines(old) == ["tflite-runtime"]
    with pytest.raises(RemoteError) as caught:
        checked_engine("litert", old, "pi")
    assert str(caught.value) == (
        "There is no package of engine 'litert' for 'pi': armv7l, 32 bits, Python 3.11.2."
    )
    assert caught.value.hint == "there are packages of: tflite-runtime."
    with pytest.raises(RemoteError, match="no package of an engine that runs onnx for 'pi'"):
        best_engine(old, "pi", {"onnx"})


def test_an_engine_is_checked_without_its_provider() -> None:
    pi = facts_of("pi-4")
    assert checked_engine("onnxruntime:cuda", pi, "pi") == "onnxruntime"
    with pytest.raises(EngineError, match="There is no engine 'onxruntime'"):
        checked_engine("onxruntime", pi, "pi")


def test_an_unknown_processor_still_gets_an_engine() -> None:
    old_pc = facts_of("pc-without-avx2", kernel="x86_64")
    assert old_pc.recognised().device is None
    assert best_engine(old_pc, "pc", {"onnx"}) == "onnxruntime"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"python": "3.6.9"}, "'board' has Python 3.6.9; edgetl needs 3.10 to 3.13."),
        ({"python": "3.14.0"}, "'board' has Python 3.14.0; edgetl needs 3.10 to 3.13."),
        (
            {"can_make_environments": False},
            "Python 3.11.2 on 'board' cannot make virtual environments.",
        ),
        (
            {"kernel": "armv6l", "bits": 32},
            "No engine of edgetl runs on 'board': its processor is 'armv6l', its Python has 32 "
            "bits.",
        ),
        (
            {"kernel": "riscv64"},
            "No engine of edgetl runs on 'board': its processor is 'riscv64', its Python has 64 "
            "bits.",
        ),
    ],
)
def test_a_machine_that_cannot_run_edgetl_says_why(other: dict[str, Any], message: str) -> None:
    with pytest.raises(RemoteError) as caught:
        require_usable(facts_of("pi-4", **other), BOARD)
    assert str(caught.value) == message
    assert caught.value.hint


def test_what_debian_splits_off_is_named() -> None:
    with pytest.raises(RemoteError) as caught:
        require_usable(facts_of("pi-4", can_make_environments=False), BOARD)
    assert caught.value.hint == "there: sudo apt install python3-venv"


def test_wheels_are_for_the_machines_glibc_and_python() -> None:
    platform = platform_of(facts_of("pi-4", libc_version="2.31"), "pi")
    assert (platform.machine, platform.python) == ("aarch64", (3, 11))
    assert platform.tags()[0] == "manylinux_2_17_aarch64"
    assert platform.tags()[-2:] == ["manylinux_2_31_aarch64", "manylinux2014_aarch64"]
    assert platform_of(facts_of("pi-4", bits=32), "pi").machine == "armv7l"
    with pytest.raises(RemoteError, match="'pi' has no glibc"):
        platform_of(facts_of("pi-4", libc="", libc_version=""), "pi")
    for odd in ("2.\u00b2", "2.999999999", "3.1", "2."):
        with pytest.raises(RemoteError, match="'pi' has no glibc"):
            platform_of(facts_of("pi-4", libc_version=odd), "pi")


def test_an_environment_counts_while_its_python_is_the_one_that_made_it() -> None:
    made = {"edgetl": "0", "python": "/usr/bin/python3", "version": "3.11", "engines": ["litert"]}
    same = facts_of("pi-4", environment=made)
    assert recorded(same, None) == recorded(same, "python3") == EnvironmentRecord(
        edgetl="0", python="/usr/bin/python3", version="3.11", engines=("litert",)
    )  # fmt: skip
    upgraded = facts_of("pi-4", environment=made, python="3.13.5")
    assert recorded(upgraded, None) is recorded(upgraded, "/usr/bin/python3") is None
    other = facts_of("pi-4", environment=made, python="3.12.1", executable="/opt/python3.12")
    assert recorded(other, None) == recorded(same, None)
    assert recorded(other, "/opt/python3.12") is None


SLY = msgspec.json.encode(facts_of("pi-4", folder="/home/\x1b[2J"))


@pytest.mark.parametrize("printed", [b"", b"Welcome!\n{}", b"{}", b"[1]", SLY])
def test_facts_that_cannot_be_read_are_an_error(printed: bytes) -> None:
    with pytest.raises(RemoteError, match="'board' answered something unexpected"):
        read_facts(0, printed, "", BOARD)
