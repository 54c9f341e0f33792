"""Machines are recognised by their /proc.

Those under machines/ were written by hand after what such boards print: none was at hand.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.core.schema import from_json
from edgetl.devices.probe import Recognised, engines_here, probe, read_machine, recognise
from edgetl.devices.profile import ProbeReport
from edgetl.devices.profiles import load_device, load_devices

MACHINES = Path(__file__).parent / "machines"


def recognised(root: Path, kernel: str, bits: int = 64) -> Recognised:
    return recognise(read_machine(root, kernel=kernel, bits=bits), load_devices())


@pytest.mark.parametrize(
    ("machine", "device", "reason"),
    [
        (
            "pi-zero-2w", "raspberry-pi-zero-2w",
            "its model is 'Raspberry Pi Zero 2 W Rev 1.0', its cores are Cortex-A53",
        ),
        (
            "pi-3b-plus", "raspberry-pi-3b-plus",
            "its model is 'Raspberry Pi 3 Model B Plus Rev 1.3', its cores are Cortex-A53",
        ),
        (
            "pi-4", "raspberry-pi-4",
            "its model is 'Raspberry Pi 4 Model B Rev 1.4', its cores are Cortex-A72",
        ),
        (
            "pi-4-in-a-container", "raspberry-pi-4",
            "its model is 'Raspberry Pi 4 Model B Rev 1.4', its cores are Cortex-A72",
        ),
        (
            "pi-5", "raspberry-pi-5",
            "its model is 'Raspberry Pi 5 Model B Rev 1.0', its cores are Cortex-A76",
        ),
        (
            "jetson-nano", "jetson-nano",
            "its model is 'NVIDIA Jetson Nano Developer Kit', its cores are Cortex-A57",
        ),
        (
            "jetson-orin-nano", "jetson-orin-nano",
            "its model is 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super', "
            "its cores are Cortex-A78AE",
        ),
        (
            "jetson-agx-orin", "jetson-agx-orin",
            "its model is 'NVIDIA Jetson AGX Orin Developer Kit', its cores are Cortex-A78AE",
        ),
        (
            "orange-pi-5", "rockchip-rk3588",
            "its device tree lists 'rockchip,rk3588s', its cores are Cortex-A55 and Cortex-A76",
        ),
    ],
)  # fmt: skip
def test_a_board_is_recognised_by_its_device_tree_and_its_cores(machine, device, reason) -> None:
    assert recognised(MACHINES / machine, "aarch64") == Recognised(load_device(device), reason)


@pytest.mark.parametrize(
    ("machine", "device", "flags"),
    [
        ("pc-avx2", "x86-avx2", "avx2"),
        ("pc-avx512-vnni", "x86-vnni", "avx2, avx512_vnni"),
        ("pc-avx-vnni", "x86-vnni", "avx2, avx_vnni"),
    ],
)
def test_a_pc_is_recognised_by_its_flags(machine, device, flags) -> None:
    expected = Recognised(load_device(device), f"/proc/cpuinfo lists {flags}")
    assert recognised(MACHINES / machine, "x86_64") == expected


def test_a_board_without_a_profile_is_generic_and_likened_to_those_with_its_cores() -> None:
    assert recognised(MACHINES / "jetson-orin-nx", "aarch64") == Recognised(
        load_device("arm64-generic"),
        "'NVIDIA Jetson Orin NX Engineering Reference Developer Kit' with cores 0x41/0xd42 "
        "is not a known board; its instruction set is aarch64",
        ("jetson-agx-orin", "jetson-orin-nano"),
    )


def test_a_machine_that_says_nothing_of_itself_is_generic(tmp_path: Path) -> None:
    assert recognised(tmp_path, "arm64") == Recognised(
        load_device("arm64-generic"),
        "a machine of unknown model is not a known board; its instruction set is aarch64",
    )


def test_a_model_with_another_boards_cores_is_not_that_board(tmp_path: Path) -> None:
    shutil.copytree(MACHINES / "pi-5", tmp_path, dirs_exist_ok=True)
    tree = tmp_path / "proc" / "device-tree"
    shutil.copy(MACHINES / "pi-4" / "proc" / "device-tree" / "model", tree / "model")
    found = recognised(tmp_path, "aarch64")
    assert found.device == load_device("arm64-generic")
    assert found.reason.startswith("'Raspberry Pi 4 Model B Rev 1.4' with cores 0x41/0xd0b ")
    assert found.alike == ("raspberry-pi-5",)


@pytest.mark.parametrize(
    ("model", "device"),
    [
        ("Raspberry Pi 400 Rev 1.0", "raspberry-pi-4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "raspberry-pi-4"),
        ("Raspberry Pi 4000 Rev 1.0", "arm64-generic"),
    ],
)
def test_a_model_is_compared_in_whole_words(tmp_path: Path, model: str, device: str) -> None:
    shutil.copytree(MACHINES / "pi-4", tmp_path, dirs_exist_ok=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(model.encode() + b"\0")
    assert recognised(tmp_path, "aarch64").device == load_device(device)


@pytest.mark.parametrize("kernel", ["armv7l", "aarch64"])
def test_a_32_bit_system_on_a_64_bit_board_gets_what_runs_there(kernel: str) -> None:
    assert recognised(MACHINES / "pi-4", kernel, bits=32) == Recognised(
        load_device("armv7-generic"),
        "its model is 'Raspberry Pi 4 Model B Rev 1.4', its cores are Cortex-A72, "
        "which fits raspberry-pi-4, but this Python runs armv7 instead of aarch64",
    )


@pytest.mark.parametrize(
    ("machine", "kernel", "bits", "reason"),
    [
        ("pc-without-avx2", "x86_64", 64, "an x86-64 processor without avx2"),
        (
            "none", "AMD64", 64,
            "the x86-64 processor's instruction sets cannot be read: there is no /proc/cpuinfo",
        ),
        ("none", "riscv64", 64, "there is no profile for 'riscv64' processors"),
        ("none", "armv6l", 32, "there is no profile for 'armv6l' processors"),
    ],
)  # fmt: skip
def test_an_unknown_machine_is_said_to_be_one(machine, kernel, bits, reason) -> None:
    assert recognised(MACHINES / machine, kernel, bits) == Recognised(None, reason)


def test_engines_are_told_in_the_devices_order_with_the_newest_wheel_for_the_python() -> None:
    engines = engines_here(load_device("jetson-nano"), python="3.10")
    assert [(e.engine, e.advised, e.newest) for e in engines] == [
        ("litert", True, "2.3.0"),
        ("onnxruntime", True, "1.23.2"),
        ("openvino", False, None),
        ("tflite-runtime", False, "2.13.0"),
    ]
    assert all(e.newest is None for e in engines_here(load_device("jetson-nano"), python="3.9"))
    assert not any(e.advised for e in engines_here(None, python="3.11"))


def test_this_machine_is_probed_for_real(edgetl) -> None:
    report = probe()
    assert [e.engine for e in report.engines if e.installed and e.version is None] == []
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('onnxruntime') is None)"
    there = subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {e.engine: e.installed for e in report.engines}["onnxruntime"] == there

    answer = edgetl("devices", "probe", "--json")
    assert answer.code == 0, answer.err
    printed = from_json(answer.out, ProbeReport, where="devices probe")
    assert (printed.device, printed.reason) == (report.device, report.reason)
    assert printed.host.cores == report.host.cores

    told = edgetl("devices", "probe")
    assert told.code == 0, told.err
    assert (report.device.name if report.device else "unknown machine") in told.out.splitlines()[0]
    assert report.host.cpu in told.out


def test_probe_answers_in_json_also_where_nothing_is_known(edgetl, monkeypatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    document = json.loads(edgetl("devices", "probe", "--json").out)
    assert (document["device"], document["threads"]) == (None, None)
    told = edgetl("devices", "probe", "--wide").out.splitlines()
    assert told[0] == (
        "unknown machine: there is no profile for 'riscv64' processors. "
        "Measure with edgetl bench what is fastest here."
    )
    assert not any("pip install" in line for line in told)
