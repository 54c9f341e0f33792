"""Facts about the machine that is measured. A fact that cannot be read is None or "unknown"."""

import os
import platform
from pathlib import Path

from edgetl.benchmarking.reports import HostFacts
from edgetl.benchmarking.sysfs import field, read_number, read_numbers, read_text
from edgetl.runtime.engines.registry import ENGINES, installed, installed_version

# Instruction sets that decide how fast int8 and float inference are.
_ISA = (
    "sse4_2", "avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8",
    "asimd", "neon", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def host_facts() -> HostFacts:
    """Read this machine's facts from /proc and /sys."""
    info = read_text(Path("/proc/cpuinfo"))
    flags = set((field(info, "flags") or field(info, "Features")).split())
    khz = read_number(_CPUFREQ / "scaling_cur_freq")
    mhz = field(info, "cpu MHz")
    return HostFacts(
        machine=read_text(Path("/proc/device-tree/model")) or platform.machine(),
        cpu=field(info, "model name") or platform.processor() or platform.machine(),
        isa=tuple(name for name in _ISA if name in flags),
        cores=os.cpu_count() or 1,
        memory_bytes=_memory_bytes("MemTotal") or 0,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=read_text(_CPUFREQ / "scaling_governor") or "unknown",
        frequency_mhz=khz / 1000 if khz else float(mhz) if mhz else None,
        temperature_c=_temperature_c(),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        engines=_engines(),
    )


def free_memory_bytes() -> int | None:
    """The memory that programs can still take without swapping; None if it cannot be read."""
    return _memory_bytes("MemAvailable")


def peak_memory_bytes() -> int:
    """The peak resident memory of this process; 0 if the system does not report it.

    VmHWM belongs to this program alone; getrusage's figure is inherited across exec.
    """
    text = field(read_text(Path("/proc/self/status")), "VmHWM")
    if text:
        return int(text.split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _engines() -> tuple[str, ...]:
    return tuple(
        f"{name} {installed_version(spec.library) or 'of unknown version'}"
        for name, spec in ENGINES.items()
        if installed(name)
    )


def _temperature_c() -> float | None:
    """The temperature of the hottest thermal zone, in degrees Celsius."""
    values = read_numbers(Path("/sys/class/thermal"), "thermal_zone*/temp")
    return max(values) / 1000 if values else None


def _memory_bytes(name: str) -> int | None:
    text = field(read_text(Path("/proc/meminfo")), name)
    return int(text.split()[0]) * 1024 if text else None
