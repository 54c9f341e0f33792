import pytest

from edgetl.arm_vm.host.pins import PINS_FILE, load_pins, machine_key
from edgetl.core.errors import SchemaError


def test_every_package_and_wheel_is_pinned_for_the_processor_it_runs_on() -> None:
    pins = load_pins()
    for packages, wanted in ((pins.userland, "python3.11"), (pins.emulator, "qemu-system-arm")):
        names = [file.file for file in packages.files]
        assert any(name.startswith(f"{wanted}_") for name in names)
        assert all(name.endswith((f"_{packages.architecture}.deb", "_all.deb")) for name in names)
    assert [file.file.startswith("linux-image-6") for file in pins.kernel.files] == [True]
    for group in pins.wheels:
        assert all(file.file.endswith(("aarch64.whl", "-any.whl")) for file in group.files)


def test_every_wheel_that_is_wanted_is_among_the_pinned_ones() -> None:
    for group in load_pins().wheels:
        pinned = {tuple(file.file.lower().split("-")[:2]) for file in group.files}
        for wanted in group.wanted:
            name, version = wanted.split("==")
            assert (name.replace("-", "_"), version) in pinned


def test_the_machine_has_another_name_when_anything_in_it_changes() -> None:
    key = machine_key(b"pins", b"init")
    assert len(key) == 16
    assert machine_key(b"pins", b"init") == key
    assert len({key, machine_key(b"pin", b"sinit"), machine_key(b"pins", b"other")}) == 3


def test_the_machine_has_another_name_on_another_kind_of_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = machine_key(b"pins", b"init")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert machine_key(b"pins", b"init") != key


def test_a_misspelt_key_in_the_pins_is_named(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "pins.json"  # type: ignore[operator]
    path.write_text(PINS_FILE.read_text().replace('"release"', '"relaese"'))
    with pytest.raises(SchemaError) as caught:
        load_pins(path)
    assert "did you mean 'release'?" in caught.value.hint
