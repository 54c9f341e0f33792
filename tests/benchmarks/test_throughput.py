import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from throughput import main


def test_it_measures_real_steps_beside_bare_ones(pictures: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "rates.json"
    main(
        [str(pictures), "--image-size", "64", "--batch", "8", "--steps", "1", "--device", "cpu",
         "--json", str(out)]
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert set(found) == {"device", "torch", "edgetl", "bare", "ratio"}
    assert found["edgetl"] > 0 < found["bare"]
    assert found["ratio"] == pytest.approx(found["edgetl"] / found["bare"])
    assert f"edgetl: {found['edgetl']:.0f} pictures/s" in capsys.readouterr().out
