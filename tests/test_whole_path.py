"""The whole path as a user walks it: a shell, real weights, every command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.making import write_class_folders

pytestmark = pytest.mark.slow

REAL_PICTURES = Path(__file__).resolve().parents[2] / "shared" / "data" / "hymenoptera"
MAX_DROP_PP = 3.0
ARTIFACTS = [f"{f}-{s}" for f in ("onnx", "openvino", "tflite") for s in ("fp32", "int8")]


def edgetl(*arguments: object, stdin: bytes | None = None) -> str:
    """Run a command as a user does; its standard output."""
    result = subprocess.run(
        [sys.executable, "-m", "edgetl", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and val folders of photographs where they are at hand, else of made pictures."""
    if REAL_PICTURES.is_dir():
        return REAL_PICTURES
    root = tmp_path_factory.mktemp("made")
    write_class_folders(root / "train", 30)
    write_class_folders(root / "val", 10, first_seed=1000)
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run` and `model.edgetl`."""
    root = tmp_path_factory.mktemp("whole")
    edgetl("finetune", data, "-o", root / "run", "--image-size", 128, "--epochs", 2)
    # Of a few pictures one is more than the default limit, and int8 would be made in all ways.
    limit = ("--max-drop", MAX_DROP_PP)
    edgetl("export", root / "run", "-o", root / "model.edgetl", *limit)
    return root


def test_a_fine_tuned_run_is_right_on_pictures_it_never_saw(made: Path, data: Path) -> None:
    report = json.loads(edgetl("evaluate", made / "run", data / "val", "--json"))

    assert report["top1"] > 0.85
    assert report["images"] == sum(1 for p in (data / "val").rglob("*.*") if p.is_file())


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_every_artifact_keeps_the_accuracy_through_its_engine(
    made: Path, data: Path, artifact: str
) -> None:
    bundle = made / "model.edgetl"
    report = json.loads(edgetl("evaluate", bundle, data / "val", "--artifact", artifact, "--json"))
    manifest = json.loads(edgetl("inspect", bundle, "--json"))
    entry = next(a for a in manifest["artifacts"] if f"{a['format']}-{a['scheme']}" == artifact)

    assert report["top1"] == pytest.approx(entry["measured"]["top1"])
    assert entry["measured"]["drop_pp"] <= MAX_DROP_PP
    if artifact.endswith("fp32"):
        assert entry["measured"]["agreement"] == 1.0


def test_the_bundle_verifies_runs_and_benches_where_it_was_made(made: Path, data: Path) -> None:
    bundle = made / "model.edgetl"
    picture = next(p for p in sorted((data / "val").rglob("*.*")) if p.is_file())

    statuses = {r["status"] for r in json.loads(edgetl("verify", bundle, "--json"))}
    assert statuses <= {"right", "absent"}
    assert "right" in statuses
    by_path = json.loads(edgetl("run", bundle, picture, "--json"))[0]
    by_pipe = json.loads(edgetl("run", bundle, "-", "--json", stdin=picture.read_bytes()))[0]
    assert by_path["top"] == by_pipe["top"]
    bench = json.loads(edgetl("bench", bundle, picture, "--engine", "litert", "--json", "-"))
    assert [row["artifact"] for row in bench["rows"]] == ["tflite-fp32", "tflite-int8"]
    assert all(row["inference"]["calls"] >= 200 for row in bench["rows"])
