"""benchmarks/adaptation.py runs to its end on tiny data: what it measures there means nothing."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import adaptation

from tests.making import KINDS, QUICK, write_class_folders


@pytest.mark.slow
def test_adapted_networks_are_held_against_the_plain_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_class_folders(tmp_path / "few", 40, KINDS[:2])
    settings = [part for setting in QUICK[2:] for part in ("--set", setting)]
    arguments = [
        str(data), "--results", str(tmp_path / "results"), "--work", str(tmp_path / "work"),
        "--weights", "none", "--image-size", "32", "--backbone", "timm:test_resnet",
        "--domains", "camera", *settings, "--set", "finetune.epochs=1",
    ]  # fmt: skip
    adaptation.main(arguments)
    table = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[:3] for row in rows[2:6]] == [
        ["few", "camera", name] for name in ("plain", "batch-norm", "coral", "adversarial")
    ]
    assert rows[2][5] == "+0.0 [+0.0, +0.0]"
    assert "What is picked is" in table

    def train_again(*_: object, **__: object) -> None:
        raise AssertionError("its results are there")

    monkeypatch.setattr(adaptation, "finetune", train_again)
    adaptation.main(arguments)
    assert capsys.readouterr().out == table
