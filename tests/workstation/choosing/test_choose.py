"""Choosing a network on pictures made here, through the command and from Python."""

import math
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from PIL import Image

from edgetl.cli.choose import command
from edgetl.core.errors import EdgetlError, GateMissedError
from edgetl.core.schema import from_json, from_yaml
from edgetl.devices.profiles import load_device
from edgetl.workstation.choosing.candidates import find_candidates
from edgetl.workstation.choosing.choose import _parts, _pictures_to_read, choose
from edgetl.workstation.choosing.costs import Known
from edgetl.workstation.choosing.results import LeftOut, Limits, Plan
from edgetl.workstation.recipe import Recipe
from tests.making import Remarks, quick, write_class_folders
from tests.workstation.choosing.test_decide import result

NETWORK = "timm:test_resnet"
UNTRAINED = {NETWORK: "none"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("photos"), per_class=10)


def chosen(photos: Path, out: Path, **options: object) -> Plan:
    return choose(
        photos, out, quick("weights=imagenet"), backbones=[NETWORK], weights=UNTRAINED,
        sizes_px=(32, 48, 64), progress=Remarks(), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plan(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chosen") / "plan"
    chosen(photos, out)
    return out


def stored(out: Path) -> Plan:
    return from_json((out / "plan.json").read_bytes(), Plan, where="plan.json")


def test_the_plan_has_a_recipe_a_picture_and_the_run_of_the_pick(plan: Path) -> None:
    made = stored(plan)
    assert made.picked is not None
    picked = made.result(made.picked)
    assert picked.whole and picked.brief and picked.probe
    assert picked.whole.images == 6 and picked.probe.images == 24
    assert (plan / str(picked.run) / "checkpoint.safetensors").is_file()
    recipe = from_yaml((plan / "recipe.yaml").read_bytes(), Recipe, where="recipe.yaml")
    assert (recipe.backbone, recipe.image_size_px) == (NETWORK, picked.candidate.image_size_px)
    assert recipe.weights == "none"
    assert Image.open(plan / "plan.png").size == (1080, 540)


def test_every_candidate_was_timed_in_int8_by_the_fastest_engine(plan: Path) -> None:
    results = stored(plan).results
    assert sorted(r.candidate.image_size_px for r in results) == [32, 48, 64]
    assert {r.cost.source for r in results} == {"measured"}
    assert all(0 < r.cost.p50_ms <= r.cost.p90_ms and r.cost.bytes > 100_000 for r in results)
    assert all(0 < r.cost.inference_ms < r.cost.p50_ms for r in results)  # reading comes on top
    assert all(r.cost.artifact.endswith("-int8") for r in results)


def test_a_limit_that_nothing_keeps_is_exit_3_and_names_the_nearest(
    photos: Path, tmp_path: Path, plan: Path
) -> None:
    out = tmp_path / "plan"
    run = CliRunner().invoke(
        command,
        [str(photos), "-o", str(out), "--backbone", NETWORK, "--weights", f"{NETWORK}=none",
         "--sizes", "64,48,32", "--max-latency", "0.000001", "--json"],
    )  # fmt: skip
    assert isinstance(run.exception, GateMissedError) and run.exception.exit_code == 3
    made = from_json(run.stdout, Plan, where="standard output")
    assert made.picked is None and made.nearest in str(run.exception)
    assert "ms over 1e-06 ms" in str(run.exception)
    assert made == stored(out)
    assert not (out / "runs").exists()  # nothing is trained for nothing

    small, middle, large = (made.result(f"{NETWORK}@{size}").cost for size in (32, 48, 64))
    assert (small.source, middle.source, large.source) == ("measured", "interpolated", "measured")
    share = math.log(48 / 32) / math.log(64 / 32)
    assert middle.inference_ms == pytest.approx(
        small.inference_ms ** (1 - share) * large.inference_ms**share
    )


def test_an_interrupted_choice_goes_on_where_it_was(photos: Path, tmp_path: Path) -> None:
    class BrokenOff(Remarks):
        def say(self, text: str) -> None:
            super().say(text)
            if text.endswith("the whole recipe"):
                raise KeyboardInterrupt

    out = tmp_path / "plan"
    arguments = (photos, out, quick())
    options = {"backbones": [NETWORK], "weights": UNTRAINED, "sizes_px": (32,)}
    with pytest.raises(KeyboardInterrupt):
        choose(*arguments, **options, progress=BrokenOff())
    with pytest.raises(EdgetlError, match="is not empty"):
        choose(*arguments, **options)
    before = (out / "brief" / "timm-test_resnet-32px" / "checkpoint.json").stat().st_mtime_ns
    assert choose(*arguments, **options, resume=True).picked == f"{NETWORK}@32"
    after = (out / "brief" / "timm-test_resnet-32px" / "checkpoint.json").stat().st_mtime_ns
    assert before == after
    with pytest.raises(EdgetlError, match="already holds a plan"):
        choose(*arguments, **options, resume=True)


def test_reading_is_timed_with_pictures_that_can_be_read(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", per_class=10)
    broken = min(folder.iterdir())
    for picture in broken.iterdir():
        picture.write_bytes(b"not a picture")
    read = _pictures_to_read(_parts(folder, quick()), quick())
    assert len(read) == 4  # of six test pictures
    assert all(example.path.parent != broken for example in read)


def test_a_network_whose_weights_cannot_be_had_is_left_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "edgetl.workstation.backbones.hub.hf_hub_url",
        lambda repository, file: f"http://127.0.0.1:9/{repository}/{file}",
    )
    names = ["mobilenet_v4", NETWORK]
    found, left_out = find_candidates(names, UNTRAINED, (16, 96), Remarks())
    # 16 px is too small for timm's network.
    assert [candidate.name for candidate in found] == [f"{NETWORK}@96"]
    assert [(item.name, item.weights_missing) for item in left_out] == [("mobilenet_v4", True)]
    with pytest.raises(EdgetlError, match="No network can take part") as caught:
        find_candidates(["mobilenet_v4"], {}, (96,), Remarks())
    assert "--weights" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("device", "limits", "known", "message"),
    [
        ("jetson-nano", Limits(), None, "'jetson-nano' cannot be emulated here"),
        ("raspberry-pi-4", Limits(), None, "estimated from one that was measured there"),
        ("raspberry-pi-4", Limits(), Known("x@1", 1.0), "'x@1', whose latency is known, is not"),
        (None, Limits(), Known("x", 1.0), "A known latency is one on a target"),
    ],
)
def test_a_target_that_cannot_be_estimated_is_refused_at_once(
    photos: Path, tmp_path: Path, device: str | None, limits: Limits, known: Known | None,
    message: str,
) -> None:  # fmt: skip
    target = load_device(device) if device else None
    with pytest.raises(EdgetlError, match=message):
        chosen(photos, tmp_path / "plan", target=target, limits=limits, known=known)


def test_pictures_without_a_test_part_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="compared on a test part"):
        choose(photos, tmp_path / "plan", quick("split.test=0"), weights=UNTRAINED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "128,8"], "--sizes '128,8': give sizes of 16 to 2048 px"),
        (["--known", "mobilenet_v2@224=fast"], "'fast' is not a latency in ms"),
        (["--weights", "mobilenet_v2"], "--weights 'mobilenet_v2' is not NAME=VALUE."),
    ],
)
def test_malformed_options_are_usage_errors(
    photos: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    run = CliRunner().invoke(command, [str(photos), "-o", str(tmp_path / "p"), *options])
    assert run.exit_code == 2
    assert message in run.output


def test_the_table_shows_what_to_run_next(plan: Path) -> None:
    from edgetl.cli.choose import _text

    made = stored(plan)
    text = _text(made, plan)
    assert f"picked: {made.picked}" in text
    run = made.result(str(made.picked)).run
    format_ = made.result(str(made.picked)).cost.artifact.removesuffix("-int8")
    assert text.splitlines()[-1] == (
        f"next: edgetl export {plan / str(run)} -o model.edgetl --int8 --format {format_}"
    )


def test_networks_without_weights_share_a_sentence(plan: Path) -> None:
    from edgetl.cli.choose import _text

    left_out = (
        LeftOut(name="alexnet", reason="offline", weights_missing=True),
        LeftOut(name="timm:odd", reason="no such layer in ONNX"),
        LeftOut(name="vgg16", reason="offline", weights_missing=True),
    )
    text = _text(msgspec.structs.replace(stored(plan), left_out=left_out), plan)
    assert "left out: timm:odd: no such layer in ONNX\n" in text
    assert "left out, because their weights cannot be obtained: alexnet, vgg16." in text


def test_the_table_marks_what_is_over_a_limit_or_was_not_timed() -> None:
    from edgetl.cli.choose import _figures

    timed = result(96, 6.0, 0.5)
    cost = msgspec.structs.replace(timed.cost, bytes=5_000_000, source="interpolated")
    rough = msgspec.structs.replace(timed, cost=cost)
    assert _figures(timed, Limits(max_latency_ms=5))[1:4] == ("0.0", "6.00", "6.00!")
    assert _figures(rough, Limits(max_size_mb=4))[1:4] == ("5.0!", "~6.00", "~6.00")
