"""Facts about the machine a figure comes from. What cannot be read is None or "unknown"."""

import os
import platform
from pathlib import Path

from edgetl.core.reports import HostFacts

# Instruction sets that decide how fast int8 and float inference are.
_ISA = (
    "sse4_2", "avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8",
    "asimd", "neon", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip


def host_facts() -> HostFacts:
    """Read this machine's facts from /proc and /sys."""
    info = _text("/proc/cpuinfo")
    flags = set((_field(info, "flags") or _field(info, "Features")).split())
    khz = _number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    mhz = _field(info, "cpu MHz")
    return HostFacts(
        machine=_text("/proc/device-tree/model").strip("\0 \n") or platform.machine(),
        cpu=_field(info, "model name") or platform.processor() or platform.machine(),
        isa=tuple(name for name in _ISA if name in flags),
        cores=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
        or "unknown",
        frequency_mhz=khz / 1000 if khz else float(mhz) if mhz else None,
        temperature_c=_temperature_c(),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def peak_memory_bytes() -> int:
    """The most resident memory this process ever had; 0 where the system does not say.

    VmHWM belongs to this program alone; getrusage's figure is inherited across exec.
    """
    field = _field(_text("/proc/self/status"), "VmHWM")
    if field:
        return int(field.split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _temperature_c() -> float | None:
    """The hottest thermal zone, in degrees Celsius."""
    zones = Path("/sys/class/thermal").glob("thermal_zone*/temp")
    values = [value / 1000 for zone in zones if (value := _number(str(zone))) is not None]
    return max(values, default=None)


def _memory_bytes() -> int:
    field = _field(_text("/proc/meminfo"), "MemTotal")
    return int(field.split()[0]) * 1024 if field else 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _number(path: str) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _field(text: str, name: str) -> str:
    """The value behind `name :` in a /proc file."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
