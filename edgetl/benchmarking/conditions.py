"""Read what affects the processor's speed: governor, frequency, temperature, throttling."""

import shutil
import subprocess
from pathlib import Path

from edgetl.benchmarking.reports import Conditions
from edgetl.benchmarking.sysfs import read_number, read_numbers, read_text

_CPU = "sys/devices/system/cpu"
_THERMAL = "sys/class/thermal"
# Used if the kernel names no temperature at which it begins to slow the machine down.
_HOT_C = 85.0
# In these drivers' active mode "powersave" is the usual governor and raises the frequency under
# load (kernel: admin-guide/pm/intel_pstate and amd-pstate).
_SELF_GOVERNED = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
# Bits of the Raspberry Pi firmware's get_throttled: now. 16 bits higher: at some time since boot
# (raspberrypi.com/documentation/computers/os.html#get_throttled).
_PI_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_PI_FILE = "soc*/soc*:firmware/get_throttled"  # under sys/devices/platform
# Parts of the names that the kernel's and NVIDIA's drivers give to cooling devices that slow the
# processor down; fans are not among these.
_SLOWING = ("cpufreq", "processor", "throttle")


def read_conditions(root: Path = Path("/")) -> Conditions:
    """Read /proc and /sys under `root`, and on a Raspberry Pi also the firmware's flags.

    If `root` is "/" and /sys has no such flags, `vcgencmd` is run if it is installed.
    """
    firmware = _pi_firmware(root)
    candidates = (firmware and firmware[0], _pi_voltage(root), _cooling(root))
    sources = [flags for flags in candidates if flags is not None]
    return Conditions(
        governor=", ".join(sorted(set(_governors(root)))) or None,
        holds_low=_holds_low(root),
        frequency_mhz=_frequency_mhz(root),
        temperature_c=max(_temperatures_c(root).values(), default=None),
        hot_zones=_hot_zones(root),
        throttled=tuple(sorted({flag for flags in sources for flag in flags})) if sources else None,
        throttled_before=firmware[1] if firmware else (),
        throttle_events=_throttle_events(root),
    )


def _governors(root: Path) -> list[str]:
    files = sorted((root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    return [text for file in files if (text := read_text(file))]


def _holds_low(root: Path) -> bool:
    """Whether a core's governor keeps it at its lowest frequency."""
    for folder in (root / _CPU).glob("cpu[0-9]*/cpufreq"):
        governor = read_text(folder / "scaling_governor")
        if governor == "powersave" and read_text(folder / "scaling_driver") not in _SELF_GOVERNED:
            return True
    return False


def _frequency_mhz(root: Path) -> float | None:
    """The mean frequency of the cores, from cpufreq, else from /proc/cpuinfo; None if neither."""
    khz = read_numbers(root / _CPU, "cpu[0-9]*/cpufreq/scaling_cur_freq")
    if khz:
        return sum(khz) / len(khz) / 1e3
    lines = read_text(root / "proc/cpuinfo").splitlines()
    mhz = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(mhz) / len(mhz) if mhz else None


def _temperatures_c(root: Path) -> dict[Path, float]:
    zones = sorted((root / _THERMAL).glob("thermal_zone*"))
    read = {zone: read_number(zone / "temp") for zone in zones}
    return {zone: value / 1e3 for zone, value in read.items() if value is not None}


def _hot_zones(root: Path) -> tuple[str, ...]:
    return tuple(
        read_text(zone / "type") or zone.name
        for zone, temperature_c in _temperatures_c(root).items()
        if temperature_c >= _limit_c(zone)
    )


def _limit_c(zone: Path) -> float:
    """Temperature at which the kernel slows the machine down: the lowest passive trip point."""
    trips = [file for file in zone.glob("trip_point_*_type") if read_text(file) == "passive"]
    read = [read_number(file.with_name(file.name.replace("_type", "_temp"))) for file in trips]
    return min((value / 1e3 for value in read if value is not None and value > 0), default=_HOT_C)


def _pi_firmware(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A Raspberry Pi's throttling flags: (set now, set at some time since boot), or None."""
    files = sorted((root / "sys/devices/platform").glob(_PI_FILE))
    text = read_text(files[0]) if files else ""
    if not text and root == Path("/"):
        text = _vcgencmd()
    try:
        bits = int(text.partition("=")[2] or text, 16)
    except ValueError:
        return None
    now, since = (
        tuple(name for i, name in enumerate(_PI_BITS) if bits >> (i + shift) & 1)
        for shift in (0, 16)
    )
    return now, since


def _vcgencmd() -> str:
    """The output of `vcgencmd get_throttled`, e.g. "throttled=0x50000"; "" if it fails."""
    command = shutil.which("vcgencmd")
    if command is None:
        return ""
    try:
        result = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()


def _pi_voltage(root: Path) -> tuple[str, ...] | None:
    """A Raspberry Pi's under-voltage alarm, which the kernel reports even without vcgencmd."""
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if read_text(chip / "name") == "rpi_volt":
            return (_PI_BITS[0],) if read_number(chip / "in0_lcrit_alarm") else ()
    return None


def _cooling(root: Path) -> tuple[str, ...] | None:
    """Cooling devices that slow the processor down now; None if the machine has none."""
    states = [
        (kind, state)
        for device in sorted((root / _THERMAL).glob("cooling_device*"))
        if any(word in (kind := read_text(device / "type")).lower() for word in _SLOWING)
        and (state := read_number(device / "cur_state")) is not None
    ]
    return tuple(kind for kind, state in states if state > 0) if states else None


def _throttle_events(root: Path) -> int | None:
    """Thermal events (x86) and over-current events (Jetson) since boot; None if not counted."""
    counts = read_numbers(root / _CPU, "cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts += read_numbers(root / "sys/class/hwmon", "hwmon*/oc[0-9]*_event_cnt")
    return int(sum(counts)) if counts else None
