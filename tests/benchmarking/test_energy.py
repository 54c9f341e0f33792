from pathlib import Path

import pytest

from edgetl.benchmarking.energy import PowerMeter, RaplMeter, energy_meter
from tests.benchmarking.test_conditions import write

RAPL = "sys/class/powercap/intel-rapl"


def rapl(package_uj: list[int], maximum: int = 1_000_000) -> dict[str, str]:
    files = {}
    for i, uj in enumerate(package_uj):
        files[f"{RAPL}:{i}/name"] = f"package-{i}\n"
        files[f"{RAPL}:{i}/energy_uj"] = f"{uj}\n"
        files[f"{RAPL}:{i}/max_energy_range_uj"] = f"{maximum}\n"
    return files


def ina3221(channels: dict[str, tuple[int, int]]) -> dict[str, str]:
    files = {"sys/class/hwmon/hwmon1/name": "ina3221\n"}
    for i, (label, (millivolts, milliamperes)) in enumerate(channels.items(), 1):
        files[f"sys/class/hwmon/hwmon1/in{i}_label"] = f"{label}\n"
        files[f"sys/class/hwmon/hwmon1/in{i}_input"] = f"{millivolts}\n"
        files[f"sys/class/hwmon/hwmon1/curr{i}_input"] = f"{milliamperes}\n"
    return files


def test_no_sensor_is_no_meter(tmp_path: Path) -> None:
    assert energy_meter(tmp_path) is None
    assert energy_meter(write(tmp_path, {"sys/class/hwmon/hwmon0/name": "coretemp\n"})) is None


def test_packages_are_added_up_and_what_is_inside_them_is_not(tmp_path: Path) -> None:
    inside = {f"{RAPL}:0:0/name": "core\n", f"{RAPL}:0:0/energy_uj": "77\n"}
    platform = {f"{RAPL}:2/name": "psys\n", f"{RAPL}:2/energy_uj": "5\n"}
    meter = energy_meter(write(tmp_path, rapl([1000, 2000]) | inside | platform))
    assert isinstance(meter, RaplMeter)
    assert meter.source == "RAPL package-0, package-1"
    meter.start()
    write(tmp_path, rapl([4000, 2500]))
    assert meter.stop() == pytest.approx(3.5)


def test_a_counter_that_begins_again_at_0_is_followed(tmp_path: Path) -> None:
    meter = energy_meter(write(tmp_path, rapl([999_000])))
    assert meter is not None
    meter.start()
    write(tmp_path, rapl([4_000]))
    assert meter.stop() == pytest.approx(5.0)


def test_counters_that_only_root_may_read_are_no_sensor(tmp_path: Path) -> None:
    root = write(tmp_path, rapl([1000]))
    counter = root / f"{RAPL}:0/energy_uj"
    counter.unlink()
    counter.mkdir()  # unreadable for root, too, whom a mode would not keep out
    assert energy_meter(root) is None


def test_a_board_that_measures_its_whole_input_is_not_counted_twice(tmp_path: Path) -> None:
    channels = {"VDD_IN": (5000, 2000), "VDD_CPU_GPU_CV": (5000, 700), "VDD_SOC": (5000, 300)}
    meter = energy_meter(write(tmp_path, ina3221(channels)))
    assert isinstance(meter, PowerMeter)
    assert meter.source == "INA3221 VDD_IN"


def test_power_is_added_up_over_time(tmp_path: Path) -> None:
    write(tmp_path, ina3221({"VDD_CPU": (5000, 1000), "VDD_SOC": (5000, 200)}))
    folder = tmp_path / "sys/class/hwmon/hwmon1"
    seconds = iter([10.0, 12.0, 13.0])
    channels = [(f"c{i}", folder / f"in{i}_input", folder / f"curr{i}_input") for i in (1, 2)]
    meter = PowerMeter(channels, clock=lambda: next(seconds))
    meter.sample()  # 6 W
    meter.sample()  # 2 s later still 6 W: 12 J
    (folder / "curr1_input").write_text("200\n")  # 2 W
    assert meter.stop() == pytest.approx(12_000 + 4_000)


def test_a_meter_reads_meanwhile_and_begins_anew(tmp_path: Path) -> None:
    meter = energy_meter(write(tmp_path, ina3221({"VDD_IN": (5000, 2000)})))
    assert meter is not None
    for _ in range(2):
        meter.start()
        assert meter.stop() >= 0
