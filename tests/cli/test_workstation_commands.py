"""`finetune` and `export` through the entry point."""

import json
import re

import pytest

pytest.importorskip("torch")

from edgetl.workstation.backbones.catalogue import BACKBONES
from edgetl.workstation.recipe import FineTune, load_recipe
from tests.cli.test_device_commands import expect_error
from tests.making import inside, write_class_folders

QUICK = ("--weights", "none", "--image-size", 32, "--epochs", 1, "--set", "precision=fp32")


def test_finetune_makes_a_run_and_says_what_comes_next(edgetl, data, tmp_path) -> None:
    run = tmp_path / "run"
    answer = edgetl(
        "finetune", data, "-o", run, *QUICK, "--seed", 3, "--backbone", "mobilenet_v3_small",
        "--set", "finetune.batch=6", "--set", "split.val=0.1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == [
        "torch float32, val",
        "torch float32, test",
    ]
    score = r"top-1 [\d.]+% \(95% interval [\d.]+ to [\d.]+\), macro F1 [\d.]+, 3 pictures"
    assert all(re.fullmatch(score, line.split(": ")[1]) for line in lines[:2])
    fitted = r"temperature [\d.]+, fitted on the validation part; calibration error [\d.]+%"
    assert re.fullmatch(fitted, lines[2])
    assert lines[3].startswith(f"{run} made in ")
    assert lines[3].endswith(f"next: edgetl export {run}")
    assert "linear probe: val loss" in answer.err
    recipe = load_recipe(str(run / "recipe.yaml"))
    assert (recipe.backbone, recipe.seed, recipe.image_size_px) == ("mobilenet_v3_small", 3, 32)
    assert (recipe.finetune.epochs, recipe.finetune.batch, recipe.weights) == (1, 6, "none")


def test_finetune_tells_which_pictures_it_set_aside(edgetl, tmp_path) -> None:
    root = write_class_folders(tmp_path / "data", 6)
    (root / "slope" / "bad.jpg").touch()
    answer = edgetl("finetune", root, "-o", tmp_path / "run", *QUICK, "--epochs", 0)
    assert answer.code == 0
    assert (
        f"skipped: '{root / 'slope' / 'bad.jpg'}' cannot be read as a picture: the file is empty."
    ) in answer.err.splitlines()
    assert "skipped 1 unreadable pictures in all" in answer.err.splitlines()


def test_finetune_reads_a_recipe_file_and_options_win_over_it(edgetl, data, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "seed: 5\nweights: none\nimage_size_px: 32\nfinetune: {epochs: 7, batch: 6}\n"
    )
    run = tmp_path / "run"
    answer = edgetl("finetune", data, "-o", run, "-r", tmp_path / "mine.yaml", "--epochs", 0)
    assert answer.code == 0, answer.err
    recipe = load_recipe(str(run / "recipe.yaml"))
    assert (recipe.seed, recipe.finetune.batch, recipe.finetune.epochs) == (5, 6, 0)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ("--backbone", "mobilnet_v2"),
            "There is no backbone 'mobilnet_v2'.",
            f"did you mean 'mobilenet_v2'? The choices are: {', '.join(sorted(BACKBONES))}.",
        ),
        (
            ("--set", "finetune.epoch=1"),
            "recipe with --set: Object contains unknown field `epoch` - at `$.finetune`.",
            None,
        ),
        (("--set", "seed"), "--set 'seed' is not KEY=VALUE.", "e.g. --set finetune.batch=64"),
        (("-r", "edge-defalt"), "There is no recipe 'edge-defalt'.", None),
        (
            ("--image-size", 8),
            "recipe with --set: Expected `int` >= 16 - at `$.image_size_px`.",
            "",
        ),
        (("--epochs", -1), "recipe with --set: Expected `int` >= 0 - at `$.finetune.epochs`.", ""),
        (("--weights", "none.pth"), "Weights file 'none.pth' does not exist.", ""),
    ],
)
def test_finetune_refuses_misspelt_and_impossible_options(
    edgetl, data, tmp_path, options, message, hint
) -> None:
    answer = edgetl("finetune", data, "-o", tmp_path / "run", *options)
    expect_error(answer, message, hint)
    assert not (tmp_path / "run" / "checkpoint.json").exists()


def test_a_misspelt_key_lists_the_choices(edgetl, data, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text("finetune:\n  epoch: 3\n")
    answer = edgetl("finetune", data, "-o", tmp_path / "run", "-r", tmp_path / "mine.yaml")
    expect_error(
        answer,
        "recipe 'mine.yaml': Object contains unknown field `epoch` - at `$.finetune`.",
        f"did you mean 'epochs'? The choices are: {', '.join(sorted(FineTune.__struct_fields__))}.",
    )


def test_finetune_refuses_data_it_cannot_learn_from(edgetl, tmp_path) -> None:
    pets = tmp_path / "pets"
    layout = f"put each class's pictures in a folder of its own: {pets}/cat/*.jpg, {pets}/dog/*.jpg"
    expect_error(
        edgetl("finetune", pets, "-o", tmp_path / "run"), f"'{pets}' does not exist.", layout
    )
    write_class_folders(pets, 3, ("cat",))
    expect_error(
        edgetl("finetune", pets, "-o", tmp_path / "run"),
        f"'{pets}' has 1 class folder; a classifier needs at least 2.",
        layout,
    )
    (pets / "dog").mkdir()
    expect_error(
        edgetl("finetune", pets, "-o", tmp_path / "run"),
        f"Class folder '{pets / 'dog'}' holds no pictures.",
        "put pictures into it or remove it.",
    )
    assert inside(tmp_path) == ["pets"]


def test_finetune_leaves_nothing_where_it_cannot_write(edgetl, data, tmp_path) -> None:
    (tmp_path / "file").touch()
    expect_error(
        edgetl("finetune", data, "-o", tmp_path / "file" / "run", *QUICK),
        f"'{tmp_path / 'file' / 'run'}' cannot be written: Not a directory.",
        "choose another place with -o, or make room or permission there.",
    )
    assert inside(tmp_path) == ["file"]


def test_finetune_never_trains_over_a_run(edgetl, data, tiny_run) -> None:
    expect_error(
        edgetl("finetune", data, "-o", tiny_run),
        f"'{tiny_run}' already holds a run.",
        "choose another folder with -o.",
    )


def test_finetune_offline_names_the_three_ways_out(
    edgetl, data, tmp_path, cache, monkeypatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    answer = edgetl("finetune", data, "-o", tmp_path / "run", "--backbone", "resnet18")
    assert (answer.code, answer.out) == (1, "")
    assert "Error: ImageNet weights for 'resnet18' cannot be obtained: " in answer.err
    assert answer.err.splitlines()[-1] == (
        "Hint: go online once; or give a file: --weights resnet18-f37072fd.pth; "
        "or train from scratch: --weights none"
    )


def test_export_prints_what_was_measured(edgetl, tiny_run, tmp_path) -> None:
    out = tmp_path / "m.edgetl"
    answer = edgetl("export", tiny_run, "-o", out, "--format", "onnx", "--fp32", "--int8", "--wide")
    assert answer.code == 0, answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    assert [line[:1] for line in lines] == [
        ["artifact"], ["onnx-fp32"], ["onnx-int8"], [], ["int8"], ["onnx-int8"], [],
        ["unknown"], ["onnx-fp32"], ["onnx-int8"], [f"{out}:"],
    ]  # fmt: skip
    assert lines[5][1:4:2] == ["ranges", "100.00"]  # by the first way, all MACs in int8
    manifest = json.loads(edgetl("inspect", out, "--json").out)
    assert [a["scheme"] for a in manifest["artifacts"]] == ["fp32", "int8"]


def test_export_explains_what_int8_costs_each_layer(edgetl, tiny_run, tmp_path) -> None:
    out = tmp_path / "m.edgetl"
    answer = edgetl(
        "export", tiny_run, "-o", out, "--format", "onnx", "--int8", "--explain", "--max-drop", 100
    )
    assert answer.code == 0, answer.err
    table = answer.out[answer.out.index("only this in int8") :].splitlines()[1:-3]
    chart = tmp_path / "m.layers.png"
    assert answer.out.splitlines()[-2] == f"drawn in {chart}"
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert len(table) > 20
    assert table[-1].split() == ["x", "-", "120.0", "100.00"]  # the pixels, which are exact
    assert edgetl("inspect", out).out.splitlines()[-len(table) :] == table


def test_export_for_a_device_makes_its_formats_and_says_what_int8_is_like_there(
    edgetl, tiny_run, tmp_path
) -> None:
    out = tmp_path / "m.edgetl"
    answer = edgetl(
        "export", tiny_run, "-o", out, "--int8", "--target", "x86-avx2", "--max-drop", 100
    )
    assert answer.code == 0, answer.err
    assert answer.err.startswith("x86-avx2: Without VNNI, OpenVINO's int8 kernels overflow ")
    made = [a["format"] for a in json.loads(edgetl("inspect", out, "--json").out)["artifacts"]]
    assert made == ["onnx", "openvino", "tflite"]


def test_export_exits_with_3_over_the_budget(edgetl, tiny_run, tmp_path) -> None:
    answer = edgetl(
        "export", tiny_run, "-o", tmp_path / "m.edgetl", "--format", "onnx", "--fp32",
        "--max-drop", -1,
    )  # fmt: skip
    expect_error(answer, "Over the budget of -1.0 points of top-1: onnx-fp32 lost 0.00.", code=3)
    assert inside(tmp_path) == ["m.over-budget.edgetl"]


@pytest.mark.parametrize(
    ("option", "limit", "missed"),
    [
        ("--max-size", 0.001, "onnx-fp32: size "),
        ("--max-latency", 1e-6, "onnx-fp32 through onnxruntime"),
        ("--max-memory", 1, "onnx-fp32 through onnxruntime"),
    ],
)
def test_export_exits_with_3_where_a_bundle_takes_more_than_it_may(
    edgetl, tiny_run, tmp_path, option: str, limit: float, missed: str
) -> None:
    out = tmp_path / "m.edgetl"
    made = ("export", tiny_run, "-o", out, "--format", "onnx", "--fp32")
    answer = edgetl(*made, option, limit)
    assert answer.code == 3
    assert f"Error: {missed}" in answer.err
    assert f" over {option} {limit:g}." in answer.err
    assert inside(tmp_path) == ["m.over-budget.edgetl"]
    assert edgetl(*made, option, 1e6).code == 0
    assert inside(tmp_path) == ["m.edgetl"]


def test_export_does_not_time_a_device_that_is_elsewhere(edgetl, tiny_run, tmp_path) -> None:
    elsewhere = ("--target", "raspberry-pi-4", "--max-latency", 50)
    answer = edgetl("export", tiny_run, "-o", tmp_path / "m.edgetl", *elsewhere)
    assert answer.code == 1
    assert (
        "Latency and memory are measured on this machine, which is no raspberry-pi-4." in answer.err
    )
    assert inside(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ("--format", "onnx,tflit"),
            "There is no format 'tflit'.",
            "did you mean 'tflite'? The choices are: onnx, openvino, tflite.",
        ),
        (("--target", "raspberry-pi-6"), "There is no device 'raspberry-pi-6'.", None),
        (("--format", "onnx", "--fp16"), "None of onnx comes in fp16.", ""),
    ],
)
def test_export_refuses_misspelt_and_impossible_options(
    edgetl, tiny_run, tmp_path, options, message, hint
) -> None:
    expect_error(edgetl("export", tiny_run, "-o", tmp_path / "m.edgetl", *options), message, hint)
    assert inside(tmp_path) == []


def test_export_refuses_what_is_no_run_and_places_it_cannot_write(
    edgetl, tiny_run, tmp_path
) -> None:
    expect_error(
        edgetl("export", tmp_path, "-o", tmp_path / "m.edgetl"),
        f"'{tmp_path}' is not a run: it has no checkpoint.json.",
        "make one with `edgetl finetune DATA -o RUN`.",
    )
    out = tmp_path / "missing" / "m.edgetl"
    expect_error(
        edgetl("export", tiny_run, "-o", out),
        f"'{out}' cannot be written: No such file or directory.",
        "choose another place with -o, or make room or permission there.",
    )
    assert inside(tmp_path) == []
