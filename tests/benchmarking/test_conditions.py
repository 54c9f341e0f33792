"""Against made /proc and /sys trees, laid out as the kernel's documents say."""

from pathlib import Path

import pytest

from edgetl.benchmarking.conditions import read_conditions


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cpufreq(core: int, governor: str, khz: int, driver: str = "cpufreq-dt") -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
    return {
        f"{folder}/scaling_governor": f"{governor}\n",
        f"{folder}/scaling_cur_freq": f"{khz}\n",
        f"{folder}/scaling_driver": f"{driver}\n",
    }


def zone(index: int, kind: str, millidegrees: int, **trips: int) -> dict[str, str]:
    folder = f"sys/class/thermal/thermal_zone{index}"
    files = {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{millidegrees}\n"}
    for i, (trip, temperature) in enumerate(trips.items()):
        files[f"{folder}/trip_point_{i}_type"] = f"{trip}\n"
        files[f"{folder}/trip_point_{i}_temp"] = f"{temperature}\n"
    return files


PI_FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_a_machine_that_says_nothing_is_unknown_and_not_calm(tmp_path: Path) -> None:
    found = read_conditions(tmp_path)
    assert found.governor is None
    assert found.frequency_mhz is None
    assert found.temperature_c is None
    assert found.throttled is None
    assert found.throttle_events is None
    assert found.hot_zones == ()


def test_governor_and_frequency_are_of_all_cores(tmp_path: Path) -> None:
    root = write(tmp_path, cpufreq(0, "ondemand", 600_000) | cpufreq(1, "schedutil", 1_800_000))
    found = read_conditions(root)
    assert found.governor == "ondemand, schedutil"
    assert found.frequency_mhz == 1200
    assert not found.holds_low


@pytest.mark.parametrize(
    ("driver", "holds"), [("cpufreq-dt", True), ("intel_pstate", False), ("intel_cpufreq", True)]
)
def test_powersave_holds_a_core_low_but_where_the_driver_governs_itself(
    tmp_path: Path, driver: str, holds: bool
) -> None:
    root = write(tmp_path, cpufreq(0, "performance", 1) | cpufreq(1, "powersave", 1, driver))
    assert read_conditions(root).holds_low is holds


def test_without_cpufreq_the_frequency_is_that_of_cpuinfo(tmp_path: Path) -> None:
    text = "processor\t: 0\ncpu MHz\t\t: 2000.0\n\nprocessor\t: 1\ncpu MHz\t\t: 3000.0\n"
    assert read_conditions(write(tmp_path, {"proc/cpuinfo": text})).frequency_mhz == 2500


def test_a_zone_is_hot_from_where_the_kernel_slows_the_machine_down(tmp_path: Path) -> None:
    zones = (
        zone(0, "cpu-thermal", 81_000, passive=80_000, critical=110_000)
        | zone(1, "gpu-thermal", 70_000, active=50_000, passive=97_000)
        | zone(2, "x86_pkg_temp", 84_900, passive=-274_000)  # a trip point that is switched off
        | zone(3, "soc-thermal", 85_000, critical=115_000)
    )
    found = read_conditions(write(tmp_path, zones))
    assert found.hot_zones == ("cpu-thermal", "soc-thermal")
    assert found.temperature_c == 85


def test_a_zone_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, zone(0, "battery", 0) | zone(1, "cpu-thermal", 44_000))
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("")
    assert read_conditions(root).temperature_c == 44


def test_a_raspberry_pi_says_what_holds_it_back_and_what_has_done_so(tmp_path: Path) -> None:
    found = read_conditions(write(tmp_path, {PI_FLAGS: "d0005\n"}))
    assert found.throttled == ("throttled", "under-voltage")
    assert found.throttled_before == ("under-voltage", "throttled", "soft temperature limit")


@pytest.mark.parametrize(("alarm", "flags"), [("1\n", ("under-voltage",)), ("0\n", ())])
def test_a_raspberry_pi_without_vcgencmd_still_tells_of_its_voltage(
    tmp_path: Path, alarm: str, flags: tuple[str, ...]
) -> None:
    chip = "sys/class/hwmon/hwmon1"
    root = write(tmp_path, {f"{chip}/name": "rpi_volt\n", f"{chip}/in0_lcrit_alarm": alarm})
    assert read_conditions(root).throttled == flags


def test_a_raspberry_pi_whose_bus_has_an_address_is_read_too(tmp_path: Path) -> None:
    path = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    assert read_conditions(write(tmp_path, {path: "2\n"})).throttled == ("frequency capped",)


def test_a_calm_raspberry_pi_says_that_it_is_not_throttled(tmp_path: Path) -> None:
    found = read_conditions(write(tmp_path, {PI_FLAGS: "0\n"}))
    assert (found.throttled, found.throttled_before) == ((), ())


def test_vcgencmd_is_asked_where_the_kernel_has_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path("/", PI_FLAGS).exists():
        pytest.skip("this machine has the kernel's file")
    program = tmp_path / "vcgencmd"
    program.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x20002\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = read_conditions()
    assert found.throttled is not None and "frequency capped" in found.throttled
    assert found.throttled_before == ("frequency capped",)


def test_x86_counts_of_all_cores_are_added_up(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    events = {(0, "core"): 1, (0, "package"): 20, (1, "core"): 300, (1, "package"): 20}
    files = {folder.format(*place): f"{count}\n" for place, count in events.items()}
    assert read_conditions(write(tmp_path, files)).throttle_events == 341


def test_a_jetsons_over_current_events_are_counted(tmp_path: Path) -> None:
    files = {
        "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
        "sys/class/hwmon/hwmon2/oc1_event_cnt": "2\n",
        "sys/class/hwmon/hwmon2/oc3_event_cnt": "5\n",
    }
    assert read_conditions(write(tmp_path, files)).throttle_events == 7


def test_cooling_that_slows_the_processor_is_throttling_and_a_fan_is_not(tmp_path: Path) -> None:
    folder = "sys/class/thermal/cooling_device"
    files = {
        f"{folder}0/type": "pwm-fan\n", f"{folder}0/cur_state": "3\n",
        f"{folder}1/type": "cpufreq-cpu0\n", f"{folder}1/cur_state": "0\n",
        f"{folder}2/type": "thermal-cpufreq-4\n", f"{folder}2/cur_state": "2\n",
    }  # fmt: skip
    assert read_conditions(write(tmp_path, files)).throttled == ("thermal-cpufreq-4",)
    (tmp_path / f"{folder}2/cur_state").write_text("0\n")
    assert read_conditions(tmp_path).throttled == ()


def test_one_slowed_core_of_many_is_throttling(tmp_path: Path) -> None:
    folder = "sys/class/thermal/cooling_device"
    files = {f"{folder}{i}/type": "Processor\n" for i in range(3)}
    files |= {f"{folder}{i}/cur_state": f"{int(i == 1)}\n" for i in range(3)}
    assert read_conditions(write(tmp_path, files)).throttled == ("Processor",)


def test_this_machine_can_be_read() -> None:
    found = read_conditions()
    assert found.frequency_mhz is None or found.frequency_mhz > 0
    assert found.temperature_c is None or -50 < found.temperature_c < 150
