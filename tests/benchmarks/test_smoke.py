"""Every benchmark runs to its end on tiny data: what it measures there means nothing."""

import json
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")

import agreement
import arm64
import backbones
import device_half
import heatmaps
import int8
import int8_plots
import runtime
import unknown

from edgetl.arm_vm.host.boards import BOARDS
from edgetl.bundle.archive import Bundle
from tests.making import draw


def rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_bench_is_held_against_bare_loops_and_the_engines_own_tools(tiny: Bundle, capsys) -> None:
    agreement.main([str(tiny.path), "--rounds", "1", "--calls", "5"])
    found = rows(capsys.readouterr().out)
    assert [row[0] for row in found if row[1] == "a bare loop"] == [
        "onnx-int8", "openvino-int8", "tflite-int8",
    ]  # fmt: skip
    assert all(float(row[2]) > 0 < float(row[3]) for row in found)


def test_a_backbones_size_is_counted(capsys) -> None:
    backbones.main(["--backbone", "mobilenet_v2"])
    assert rows(capsys.readouterr().out) == [
        ["mobilenet_v2", "torchvision", "224", "3.50", "0.30", "not measured"]
    ]


@pytest.mark.slow
def test_a_backbones_int8_is_held_against_torch(pictures: Path, capsys) -> None:
    backbones.main([str(pictures), "--backbone", "mobilenet_v2"])
    ((*_, agreement_),) = rows(capsys.readouterr().out)
    named = [part.split()[0] for part in agreement_.split(", ")]
    assert named in (["onnx", "openvino", "tflite"], ["no"])  # no weights at hand


@pytest.mark.slow
def test_int8_is_held_against_each_toolchains_defaults(
    tiny_run: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "int8.json"
    int8.main([str(tiny_run), "--json", str(out)])
    names = [row["name"] for row in json.loads(out.read_text())]
    assert names == [
        "edgetl onnx, seed 0", "edgetl openvino, seed 0", "edgetl tflite, seed 0",
        "ORT per tensor, seed 0", "ORT per channel, seed 0", "NNCF, seed 0", "ai-edge, seed 0",
    ]  # fmt: skip
    assert "failed" not in capsys.readouterr().out


@pytest.mark.slow
def test_what_each_step_of_int8_does_is_measured_and_drawn(
    tiny_run: Path, tmp_path: Path, capsys
) -> None:
    int8_plots.main([str(tiny_run), "-o", str(tmp_path)])
    found = rows(capsys.readouterr().out)
    assert [row[0][:2] for row in found[:6]] == ["a ", "+ ", "+ ", "+ ", "+ ", "+ "]
    assert all(0 < float(row[1]) < 120 for row in found[:6])
    assert len({row[1] for row in found[:6]}) > 3  # six networks, not one six times
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert sorted(drawn) == [
        "int8-activations.svg", "int8-layers.svg", "int8-steps.svg", "int8-weights.svg",
    ]  # fmt: skip
    assert "GPTQ" in drawn["int8-steps.svg"]
    assert all(len(text) < 100_000 for text in drawn.values())


def test_unknown_pictures_are_told_from_those_of_other_sets(
    tiny_run: Path, tiny_bundle: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tiny_run)
        (tmp_path / f"{name}.edgetl").symlink_to(tiny_bundle)
    sets = [f"one={pictures}", f"two={pictures}"]
    unknown.main(["--work", str(tmp_path), "--pictures", "5", "--artifact", "onnx-int8", *sets])
    pairs, means = capsys.readouterr().out.split("\n\n")
    assert [row[:3] for row in rows(pairs)] == [
        ["one", "two", "onnx-int8"], ["two", "one", "onnx-int8"],
    ]  # fmt: skip
    ((artifact, *scores),) = rows(means)
    assert artifact == "onnx-int8"
    assert all(-100 <= float(score) <= 100 for score in scores)


@pytest.mark.slow
def test_heatmaps_are_held_against_planted_patches(tmp_path: Path, capsys) -> None:
    settings = ["weights=none", "finetune.epochs=1", "finetune.cached_views=1"]
    options = [f"--set={setting}" for setting in settings]
    size = ["--size", "64", "--pictures", "8", "--format", "onnx"]
    heatmaps.main(["--work", str(tmp_path), *size, *options])
    found = rows(capsys.readouterr().out)
    assert [row[0] for row in found] == ["onnx-fp32", "onnx-int8"]
    assert all(0 <= float(score) <= 100 for row in found for score in row[1:])


@pytest.mark.slow
def test_the_device_half_is_measured_in_an_environment_of_its_own(
    tiny_bundle: Path, pictures: Path, capsys
) -> None:
    picture = pictures / "checks" / "00.png"
    device_half.main([str(tiny_bundle), str(picture), "--engine", "onnxruntime"])
    (row,) = rows(capsys.readouterr().out)
    assert row[0] == "onnxruntime"
    assert 50 < float(row[1]) < 1000


@pytest.mark.slow
def test_photograph_to_label_is_held_against_scripts_written_by_hand(
    tiny_bundle: Path, tiny_run: Path, pictures: Path, tmp_path: Path, capsys
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- runtime: begin -->\nold\n<!-- runtime: end -->\nafter\n")
    runtime.main(
        [str(tiny_bundle), str(tiny_run), str(pictures), "--rounds", "1", "--repeats", "1",
         "--count", "1", "--write", str(page)]
    )  # fmt: skip
    found = rows(capsys.readouterr().out)
    assert {row[0].partition(":")[0] for row in found} == {"hand", "edgetl", "decoded-bare", "bare"}
    assert found[0][0] in page.read_text()
    assert "old" not in page.read_text()


@pytest.mark.arm64
@pytest.mark.arm64_short
def test_instructions_of_a_picture_are_counted_on_an_emulated_board(
    machine: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    picture, model = tmp_path / "a.png", tmp_path / "model.edgetl"
    draw("checks", 0, 64, 64).save(picture)
    model.write_bytes(tiny_bundle.read_bytes())
    board = BOARDS["raspberry-pi-zero-2w"]
    counted = arm64.count("edgetl:litert", model, {"small": [picture]}, board)
    assert 0.1 < counted["small"] < 1000
