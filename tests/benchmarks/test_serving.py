import json
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from serving import main


def test_answers_over_http_are_held_against_direct_calls(
    tiny_bundle: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "serving.json"
    main(
        [str(tiny_bundle), str(pictures), "--count", "3", "--rounds", "2", "--clients", "40",
         "--seconds", "1", "--json", str(out)]
    )  # fmt: skip
    found = json.loads(out.read_text())
    one, many = found["one"], found["many"]
    assert 0 < one["direct_ms"] < one["http_ms"]
    assert one["own_cost_ms"] > 0
    assert many["answers"] > 40
    assert many["failed"] == 0
    assert 0 < many["p50_ms"] <= many["p99_ms"]
    assert 10 < many["resident_begin_mb"] <= many["resident_most_mb"]
    assert f"p99_ms: {many['p99_ms']:.2f}" in capsys.readouterr().out
