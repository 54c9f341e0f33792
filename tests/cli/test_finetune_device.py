"""`finetune --device`, and what it prints of the machine, the time and its decisions."""

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgetl.workstation.training.decisions import read_decisions  # noqa: E402
from tests.cli.test_device_commands import expect_error  # noqa: E402
from tests.cli.test_finetune_options import QUICK  # noqa: E402
from tests.making import write_class_folders  # noqa: E402

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")


@NO_GPU
@pytest.mark.parametrize("options", [(), ("--folds", 2), ("--find-rate",), ("--refit",)])
def test_a_gpu_that_is_not_there_is_an_error_that_leaves_nothing(
    edgetl, data, tmp_path, options
) -> None:
    answer = edgetl("finetune", data, "-o", tmp_path / "run", *QUICK, "--device", "cuda", *options)
    expect_error(
        answer,
        "--device cuda: torch finds no CUDA GPU here.",
        "check `nvidia-smi` and that torch is a CUDA build, or use --device cpu.",
    )
    assert not (tmp_path / "run").exists()


def test_a_device_of_no_known_name_lists_those_there_are(edgetl, data, tmp_path) -> None:
    answer = edgetl("finetune", data, "-o", tmp_path / "run", *QUICK, "--device", "gpu")
    expect_error(answer, "There is no device 'gpu'.", "--device is auto, cpu, cuda, cuda:N or mps.")


def test_the_machine_the_time_and_the_pace_are_printed(edgetl, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = edgetl(
        "finetune", data, "-o", run, *QUICK, "--epochs", 3, "--device", "cpu",
        "--set", "finetune.batch=4",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    threads = torch.get_num_threads()
    cores = f"{threads} CPU core{'s' * (threads > 1)}, float32"
    lines = answer.err.splitlines()
    announced = lines.index(f"training on {cores}: 3 epochs of 15 pictures at 32 px")
    estimate = next(line for line in lines if "training takes about" in line)
    assert re.fullmatch(r"\d+ pictures/s: training takes about \d+ s", estimate)
    assert (
        announced
        < lines.index(estimate)
        < next(number for number, line in enumerate(lines) if line.startswith("epoch 2:"))
    )
    assert re.search(rf"made in \d+ s, \d+ pictures/s on {cores}, curves in", answer.out)


def test_what_was_decided_is_printed_and_kept_in_the_run(edgetl, tmp_path: Path) -> None:
    data, run = write_class_folders(tmp_path / "data", 20), tmp_path / "run"
    answer = edgetl("finetune", data, "-o", run, *QUICK)
    assert answer.code == 0, answer.err
    crops, mirrors = read_decisions(run)
    assert (crops.name, crops.value) == ("crops", "from 48 px")  # the pictures' own short side
    assert (mirrors.name, mirrors.value) == ("mirror images", "horizontal")
    assert mirrors.why == "48 pictures are too few to tell more"
    for made in (crops, mirrors):
        assert f"{made.name}: {made.value} ({made.why})" in answer.err.splitlines()


@pytest.mark.parametrize("options", [(), ("--refit",)])
def test_signs_that_training_went_wrong_are_printed(
    edgetl, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options
) -> None:
    monkeypatch.setattr(
        "edgetl.workstation.training.run.below_its_probe", lambda test, probe: "it is worse"
    )
    answer = edgetl("finetune", data, "-o", tmp_path / "run", *QUICK, *options)
    assert answer.code == 0, answer.err
    assert "warning: it is worse" in answer.err.splitlines()
    assert "warning" not in answer.out
