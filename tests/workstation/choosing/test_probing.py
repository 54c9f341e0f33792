"""How many pictures a round of probes takes."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.data.folders import read_class_folders
from edgetl.workstation.choosing.probing import Prober
from edgetl.workstation.choosing.results import Candidate, Cost, Result
from edgetl.workstation.training.compute import Compute
from tests.making import Remarks, quick, write_class_folders

NETWORK = "timm:test_resnet"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("photos"), per_class=45)


def result(size_px: int) -> Result:
    cost = Cost(
        artifact="onnx-int8", engine="e", threads=1, bytes=1,
        p50_ms=9, p90_ms=9, inference_ms=size_px / 32,
    )  # fmt: skip
    candidate = Candidate(backbone=NETWORK, weights="none", image_size_px=size_px)
    return Result(candidate=candidate, cost=cost)


@pytest.mark.parametrize(("within_s", "images"), [(None, 135), (3600.0, 135), (0.0, 100)])
def test_fewer_pictures_are_probed_where_time_is_short(
    photos: Path, cache: Path, within_s: float | None, images: int
) -> None:
    labels, examples = read_class_folders(photos)
    recipe = quick("weights=none")
    prober = Prober(recipe, examples, len(labels), Compute(recipe, "cpu"), Remarks())
    probed = prober.probe([result(32), result(64)], 400, within_s, "probing")
    assert [each.probe.images for each in probed if each.probe] == [images] * 2
    assert all(each.probe.top1 > 0.5 for each in probed if each.probe)
