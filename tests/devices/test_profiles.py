import json
import re
from pathlib import Path

import pytest
import yaml

from edgetl.core.errors import SchemaError
from edgetl.core.schema import from_yaml, to_yaml
from edgetl.devices.profile import DeviceProfile
from edgetl.devices.profiles import device_names, formats_for, load_device, load_devices

DOCS = Path(__file__).parents[2] / "docs" / "devices.md"
NAMES = device_names()


def expect_error(answer, message: str, hint: str = "") -> None:
    assert answer.code == 1
    assert answer.out == ""
    wanted = [f"Error: {message}", *([f"Hint: {hint}"] if hint else [])]
    assert answer.err.splitlines() == wanted


@pytest.fixture
def my_board(tmp_path: Path) -> Path:
    """A user's own profile, after the Raspberry Pi 4's."""
    path = tmp_path / "my-board.yaml"
    path.write_text(to_yaml(load_device("raspberry-pi-4")).replace("raspberry-pi-4", "my-board"))
    return path


def edited(path: Path, **changes: object) -> Path:
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(document | changes))
    return path


def test_every_promised_device_is_there() -> None:
    assert NAMES == [
        "arm64-generic", "armv7-generic", "jetson-agx-orin", "jetson-nano", "jetson-orin-nano",
        "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2w",
        "rockchip-rk3588", "x86-avx2", "x86-vnni",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_is_complete(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert device.sources
    assert device.not_measured
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", device.wheels_checked)
    # What it advises can be installed there.
    assert all(device.python in device.wheels[engine] for engine in device.engines)
    assert from_yaml(to_yaml(device), DeviceProfile, where=name) == device


def test_no_two_profiles_claim_the_same_board() -> None:
    devices = [device.recognise for device in load_devices()]
    claimed = [name for asked in devices for name in (*asked.models, *asked.compatible)]
    assert len(claimed) == len(set(claimed))


def test_systems_with_the_same_c_library_have_the_same_wheels() -> None:
    alike = [d for d in load_devices() if d.isa == "aarch64" and d.name != "jetson-nano"]
    assert len(alike) == 8
    assert all(device.wheels == alike[0].wheels for device in alike)


def test_openvino_is_for_x86_only() -> None:
    with_it = {d.isa for d in load_devices() if "openvino" in d.engines}
    assert with_it == {"x86-64"}
    assert formats_for(load_device("raspberry-pi-5")) == ["tflite", "onnx"]


def test_tensorrt_is_why_activations_are_symmetric() -> None:
    symmetric = [d.name for d in load_devices() if d.symmetric_activations]
    assert symmetric == ["jetson-agx-orin", "jetson-orin-nano"]


def test_list_prints_isa_memory_and_engines(edgetl) -> None:
    answer = edgetl("devices", "list", "--wide")
    assert answer.code == 0, answer.err
    header, *rows = answer.out.splitlines()
    assert header.split("  ")[0] == "device"
    assert [row.split()[0] for row in rows] == NAMES
    zero = next(row for row in rows if row.startswith("raspberry-pi-zero-2w"))
    assert zero.split() == [
        "raspberry-pi-zero-2w", "aarch64", "4", "512", "3.11", "measure",
        "litert", "onnxruntime",
    ]  # fmt: skip


def test_the_documentation_has_the_profiles_table_and_sources() -> None:
    text = DOCS.read_text()
    rows = [
        f"| {d.name} | {d.processor} | {d.isa} | {d.cores} | {d.memory_mb} | {d.python} | "
        f"{', '.join(d.engines)} | {d.threads} | {d.int8} |"
        for d in load_devices()
    ]
    assert [line for line in text.splitlines() if line in rows] == rows
    sources = {source.url for device in load_devices() for source in device.sources}
    assert {url for url in sources if f"({url})" not in text} == set()


def test_a_profile_of_ones_own_is_read_by_its_path(edgetl, my_board, monkeypatch) -> None:
    answer = edgetl("devices", "show", my_board)
    assert answer.code == 0, answer.err
    assert answer.out == my_board.read_text()
    monkeypatch.chdir(my_board.parent)
    assert edgetl("devices", "show", "./my-board.yaml").out == answer.out
    assert edgetl("devices", "show", "my-board.yaml").out == answer.out


def test_export_takes_a_profile_of_ones_own(edgetl, tiny_run, my_board, tmp_path) -> None:
    edited(my_board, engines=["onnxruntime"], int8_advice="Mine is fast.")
    out = tmp_path / "m.edgetl"
    answer = edgetl("export", tiny_run, "-o", out, "--fp32", "--target", my_board)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines()[0] == "my-board: Mine is fast."
    made = json.loads(edgetl("inspect", out, "--json").out)["artifacts"]
    assert [artifact["format"] for artifact in made] == ["onnx"]


def test_an_unknown_device_gets_the_nearest_name(edgetl) -> None:
    expect_error(
        edgetl("devices", "show", "raspbery-pi4"),
        "There is no device 'raspbery-pi4'.",
        f"did you mean 'raspberry-pi-4'? The choices are: {', '.join(NAMES)}.",
    )


def test_a_path_where_nothing_is_says_so(edgetl, tmp_path) -> None:
    path = tmp_path / "none.yaml"
    expect_error(
        edgetl("devices", "show", path), f"'{path}' cannot be read: No such file or directory."
    )
    expect_error(
        edgetl("devices", "show", f"{tmp_path}/"), f"'{tmp_path}' cannot be read: Is a directory."
    )


def test_a_misspelt_key_gets_the_nearest_one(edgetl, my_board) -> None:
    whole = my_board.read_text()
    answer = edgetl("devices", "show", edited(my_board, thraeds=2))
    assert answer.code == 1
    error, hint = answer.err.splitlines()
    assert error == f"Error: device '{my_board}': Object contains unknown field `thraeds`."
    assert hint.startswith("Hint: did you mean 'threads'? The choices are: cores, description, ")

    my_board.write_text(whole)
    expect_error(
        edgetl("devices", "show", edited(my_board, recognise={"modles": ["My board"]})),
        f"device '{my_board}': Object contains unknown field `modles` - at `$.recognise`.",
        "did you mean 'models'? The choices are: any_flag, compatible, flags, models, processors.",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 8}, "threads is 8, but there are 4 cores"),
        ({"threads": 0}, "Expected `int` >= 1 - at `$.threads`"),
        ({"engines": []}, "Expected `array` of length >= 1 - at `$.engines`"),
        ({"engines": ["tensorrt"]}, "there is no engine 'tensorrt'"),
        (
            {"engines": ["onnxruntime", "openvino"]},
            "engines has openvino. OpenVINO's int8 gives wrong answers on ARM processors",
        ),
        ({"isa": "riscv64"}, "Invalid enum value 'riscv64' - at `$.isa`"),
        (
            {"name": "My board"},
            "Expected `str` matching regex '^[a-z0-9][a-z0-9-]*$' - at `$.name`",
        ),
        (
            {"sources": [{"title": "x", "url": "javascript:alert(1)"}]},
            "Expected `str` matching regex '^https://' - at `$.sources[0].url`",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_is_unknown_is_refused(my_board, changes, message) -> None:
    with pytest.raises(SchemaError) as error:
        load_device(str(edited(my_board, **changes)))
    assert str(error.value) == f"device '{my_board}': {message}."
