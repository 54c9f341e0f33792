import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from scaling import main


@pytest.mark.slow
def test_it_times_epochs_of_one_process_and_of_two(tmp_path: Path, capsys) -> None:
    out = tmp_path / "scaling.json"
    main(
        ["--pictures", "10", "--image-size", "32", "--epochs", "2", "--turns", "0",
         "--set", "probe.enabled=false", "--json", str(out)]
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "one", "several", "ratio"}
    assert found["one"] > 0 < found["several"]
    assert found["ratio"] == pytest.approx(found["one"] / found["several"])
    said = capsys.readouterr().out
    assert f"2 processes: {found['several']:.2f} s per epoch" in said
    assert "times as fast" in said
