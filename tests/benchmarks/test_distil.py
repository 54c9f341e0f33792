"""benchmarks/distil.py runs to its end on tiny data: what it measures there means nothing."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import distil

from tests.making import KINDS, QUICK, write_class_folders


@pytest.mark.slow
def test_a_student_is_held_against_the_same_one_under_a_teacher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_class_folders(tmp_path / "few", 10, KINDS[:2])
    (data / KINDS[0] / "twin.png").write_bytes((data / KINDS[0] / "00.png").read_bytes())
    settings = [part for setting in QUICK[2:] for part in ("--set", setting)]
    arguments = [
        str(data), "--results", str(tmp_path / "results"), "--work", str(tmp_path / "work"),
        "--weights", "none", "--image-size", "32", "--labels", "0.5",
        "--student", "timm:test_resnet", "--teacher", "timm:test_resnet",
        *settings, "--set", "finetune.epochs=1", "--teacher-set", "finetune.epochs=2",
    ]  # fmt: skip
    distil.main(arguments)
    table = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[:4] for row in rows[2:]] == [["few", "1", "4", "fp32"], ["few", "1", "4", "int8"]]
    assert len(list((tmp_path / "results").iterdir())) == 3

    def train_again(*_: object, **__: object) -> None:
        raise AssertionError("its results are there")

    monkeypatch.setattr(distil, "finetune", train_again)
    distil.main(arguments)
    assert capsys.readouterr().out == table
