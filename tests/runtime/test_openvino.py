"""How OpenVINO is imported, and what is kept of it between starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.runtime.engines.registry import load_engine

pytest.importorskip("openvino")


@pytest.fixture
def kept(cache: Path) -> Path:
    """Where compiled networks are kept."""
    return cache / "openvino"


def answers(bundle: Bundle) -> NDArray[np.float32]:
    """Logits of the golden samples through a newly loaded engine."""
    engine = load_engine("openvino", bundle.files(bundle.artifact("openvino-int8")), threads=1)
    return np.stack([engine(sample[np.newaxis])[0] for sample in bundle.golden()["inputs"]])


def test_importing_it_tells_nobody(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgetl import Classifier\n"
        f"Classifier({str(tiny_bundle)!r}, engine='openvino', threads=1)\n"
        "unwanted = {'openvino.tools', 'openvino_telemetry', 'urllib.request'}\n"
        "print(sorted(unwanted & set(sys.modules)))\n"
        "import openvino.tools.ovc\n"  # for whoever wants the converter
    )
    home = tmp_path / "home"
    home.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "HOME": str(home),
            "EDGETL_CACHE": str(tmp_path / "cache"),
            "CI": "true",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
    assert not (home / "intel" / "stats").exists()


def test_a_network_that_was_kept_answers_to_the_bit(tiny: Bundle, kept: Path) -> None:
    first = answers(tiny)
    (file,) = kept.iterdir()
    written = file.stat().st_mtime_ns
    assert np.array_equal(answers(tiny), first)
    assert [path.stat().st_mtime_ns for path in kept.iterdir()] == [written]


@pytest.mark.parametrize("damage", ["cut short", "altered", "of another kind"])
def test_a_kept_network_that_was_damaged_is_made_anew(
    tiny: Bundle, kept: Path, damage: str
) -> None:
    first = answers(tiny)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut short": whole[:middle],
        "altered": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "of another kind": b"",
    }[damage]
    file.write_bytes(damaged)
    assert np.array_equal(answers(tiny), first)
    # OpenVINO does not compile to the same bytes each time.
    assert file.read_bytes() != damaged
    mended = file.stat().st_mtime_ns
    assert np.array_equal(answers(tiny), first)
    assert file.stat().st_mtime_ns == mended  # it is whole: nothing is made again


def test_other_options_are_another_network(tiny: Bundle, kept: Path) -> None:
    files = tiny.files(tiny.artifact("openvino-int8"))
    for threads in (1, 2):
        load_engine("openvino", files, threads=threads)
    assert len(list(kept.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_done_without(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "file"))
    assert answers(tiny).shape == tiny.golden()["openvino-int8"].shape


def test_no_more_than_the_newest_are_kept(
    tiny: Bundle, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.runtime.engines.openvino_cache._MOST", 2)
    kept.mkdir(parents=True)
    for age in range(3):
        old = kept / f"{age}.blob"
        old.touch()
        os.utime(old, (age, age))
    answers(tiny)
    names = {path.name for path in kept.iterdir()}
    assert len(names) == 2
    assert "2.blob" in names
