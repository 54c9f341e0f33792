import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetl.benchmarking.load import CpuTime, LoadMeter, read_cpu_time, share_of_others


def stat(root: Path, ticks: str) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {ticks}\ncpu0 1 1 1 1 1 1 1 1 1 1\nbtime 1\n")
    return root


def test_busy_is_all_but_idle_and_waiting_and_guests_count_once(tmp_path: Path) -> None:
    hertz = os.sysconf("SC_CLK_TCK")
    root = stat(tmp_path, "100 20 30 1000 50 1 2 7 90 9")
    found = read_cpu_time(root, own_s=1.5)
    assert found is not None
    assert found.busy_s == pytest.approx(160 / hertz)
    assert found.whole_s == pytest.approx(1210 / hertz)
    assert found.own_s == 1.5


def test_others_are_what_is_busy_and_not_oneself() -> None:
    start = CpuTime(busy_s=100, whole_s=1000, own_s=5)
    assert share_of_others(start, CpuTime(107, 1010, 9)) == pytest.approx(0.3)
    # Ticks are coarse: a process may have had more time than the machine was seen busy.
    assert share_of_others(start, CpuTime(101, 1010, 9)) == 0


def test_a_system_without_proc_or_a_moment_too_short_to_see_tells_nothing(tmp_path: Path) -> None:
    assert read_cpu_time(tmp_path) is None
    assert read_cpu_time(stat(tmp_path, "1 2 3")) is None
    start = CpuTime(100, 1000, 5)
    assert share_of_others(None, start) is None
    assert share_of_others(start, None) is None
    assert share_of_others(start, start) is None
    assert share_of_others(start, CpuTime(100.5, 1000.9, 5)) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat")
def test_ones_own_work_is_seen_as_busy_and_as_ones_own() -> None:
    start, began = read_cpu_time(), time.monotonic()
    worked_until = time.process_time() + 0.5
    while time.process_time() < worked_until:
        pass
    end, wall_s = read_cpu_time(), time.monotonic() - began
    assert start and end
    assert 0.45 <= end.own_s - start.own_s <= 0.7
    assert end.busy_s - start.busy_s >= 0.35  # ticks are coarse
    assert end.whole_s - start.whole_s >= wall_s - 0.1


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat")
def test_a_program_that_was_waited_for_is_ones_own() -> None:
    start = read_cpu_time()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    end = read_cpu_time()
    assert start and end
    assert end.own_s - start.own_s >= 0.45


def test_a_lap_lasts_as_long_as_it_has_to() -> None:
    meter = LoadMeter()
    start = time.monotonic()
    meter.lap(0.2)
    assert time.monotonic() - start >= 0.19
