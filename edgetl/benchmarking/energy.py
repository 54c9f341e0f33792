"""Measure energy with the machine's own sensors, if it has any that this user may read."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgetl.benchmarking.sysfs import read_number, read_text

# NVIDIA's names of the channel that measures the whole module; the other channels are parts of it.
_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
_EVERY_S = 0.2


class EnergyMeter(Protocol):
    """Measures the energy from `start` to `stop`, in millijoules.

    Attributes:
        source: what is measured, e.g. "RAPL package-0".
    """

    source: str

    def start(self) -> None:
        """Begin to measure."""
        ...

    def stop(self) -> float:
        """Returns the energy since `start`, in millijoules."""
        ...


def energy_meter(root: Path = Path("/")) -> EnergyMeter | None:
    """Find a sensor under `root`: RAPL, else INA3221; None if there is none or it is unreadable."""
    packages = [
        zone
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        if zone.name.count(":") == 1 and read_text(zone / "name").startswith("package")
    ]
    if packages and all(read_number(zone / "energy_uj") is not None for zone in packages):
        return RaplMeter(packages)
    channels = _ina3221_channels(root)
    return PowerMeter(channels) if channels else None


class RaplMeter:
    """Reads the energy counters of x86 processor packages (RAPL), from the kernel's powercap."""

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._begun: list[float] = []
        self.source = "RAPL " + ", ".join(read_text(zone / "name") for zone in packages)

    def start(self) -> None:
        """Store the counters' present values."""
        self._begun = self._read_uj()

    def stop(self) -> float:
        """Returns the increase since `start`, in millijoules; each counter may wrap to 0 once."""
        gained_uj = 0.0
        for zone, begun, now in zip(self._packages, self._begun, self._read_uj(), strict=True):
            wrap = read_number(zone / "max_energy_range_uj") or 0.0
            gained_uj += now - begun if now >= begun else now - begun + wrap
        return gained_uj / 1e3

    def _read_uj(self) -> list[float]:
        return [read_number(zone / "energy_uj") or 0.0 for zone in self._packages]


class PowerMeter:
    """Integrates the power that a board's INA3221 measures, read five times a second.

    Args:
        channels: (label, file of millivolts, file of milliamperes); their powers are added.
        clock: returns seconds, from any starting point.
    """

    def __init__(
        self,
        channels: list[tuple[str, Path, Path]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channels, self._clock = channels, clock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: tuple[float, float] | None = None
        self._spent_mj = 0.0
        self.source = "INA3221 " + ", ".join(label for label, _, _ in channels)

    def start(self) -> None:
        """Begin to read the sensor in a thread."""
        self._spent_mj, self._last = 0.0, None
        self._stopped.clear()
        self.sample()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Read once more; returns the energy since `start`, in millijoules."""
        self._stopped.set()
        if self._thread:
            self._thread.join()
        self.sample()
        return self._spent_mj

    def sample(self) -> None:
        """Add the energy since the last reading, from the mean power of the two readings."""
        now_s, power_mw = self._clock(), self._power_mw()
        if self._last:
            then_s, before_mw = self._last
            self._spent_mj += (now_s - then_s) * (before_mw + power_mw) / 2
        self._last = now_s, power_mw

    def _watch(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self.sample()

    def _power_mw(self) -> float:
        """The sum over the channels; millivolts times milliamperes are microwatts."""
        return sum(
            (read_number(volts) or 0.0) * (read_number(amperes) or 0.0) / 1e3
            for _, volts, amperes in self._channels
        )


def _ina3221_channels(root: Path) -> list[tuple[str, Path, Path]]:
    """All channels, or only those that measure the whole board if there are any."""
    channels = [
        (read_text(chip / f"in{i}_label") or f"channel {i}", volts, amperes)
        for chip in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if read_text(chip / "name") == "ina3221"
        for i in (1, 2, 3)
        if read_number(volts := chip / f"in{i}_input") is not None
        and read_number(amperes := chip / f"curr{i}_input") is not None
    ]
    return [channel for channel in channels if channel[0] in _WHOLE_BOARD] or channels
