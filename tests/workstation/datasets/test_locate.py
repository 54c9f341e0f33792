from pathlib import Path

import pytest

pytest.importorskip("torchvision")

from edgetl import evaluate
from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.data.check import check_pictures
from edgetl.data.dataset import read_source
from edgetl.data.split import read_split
from edgetl.workstation.datasets.locate import locate
from edgetl.workstation.recipe import load_recipe, override
from edgetl.workstation.training.finetune import finetune
from tests.tiny import TINY
from tests.workstation.datasets.test_prepare import write_fashion


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert locate(tmp_path / "pets", Silent()) == tmp_path / "pets"


def test_a_public_set_is_looked_over_trained_on_and_scored_like_a_folder(
    cache: Path, rng, tmp_path: Path
) -> None:
    write_fashion(cache / "datasets/raw/FashionMNIST", rng)
    name, run = Path("torchvision:FashionMNIST"), tmp_path / "run"

    found = locate(name, Silent())
    report = check_pictures(read_source(found), str(name), Silent())
    assert (report.data, report.pictures) == ("torchvision:FashionMNIST", 40)
    assert report.classes[0].pictures == {"train": 3, "test": 1}
    assert {finding.kind: finding.count for finding in report.findings} == {
        "tiny-class": 10,
        "small": 40,
    }

    finetune(name, run, override(load_recipe("edge-default"), (*TINY, "finetune.epochs=0")))
    split = read_split(run / "splits.json")
    assert split.root == str(cache / "datasets" / "FashionMNIST")
    assert split.test["Bag"] == ("test/Bag/000008.png",)
    assert evaluate(run, name).images == 10


def test_offline_a_public_set_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(EdgetlError) as caught:
        locate(Path("torchvision:MNIST"), Silent())
    assert str(caught.value).startswith("torchvision:MNIST cannot be downloaded: ")
    assert caught.value.hint.startswith("go online once, or copy its files to ")
    assert capsys.readouterr().out == ""
