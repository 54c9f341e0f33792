"""Torchvision's own loaders, on files laid where they expect their downloads."""

import bz2
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torchvision")

import torchvision

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent
from edgetl.workstation.datasets.catalogue import KNOWN
from edgetl.workstation.datasets.prepare import folder_name, prepare
from tests.making import draw, inside

CLOTHES = [
    "Ankle boot", "Bag", "Coat", "Dress", "Pullover", "Sandal", "Shirt", "Sneaker", "T-shirt-top",
    "Trouser",
]  # fmt: skip


def write_idx(path: Path, array: np.ndarray) -> None:
    """The file format of MNIST: 0, 0, 8 (bytes), dimensions, sizes, content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_fashion(raw: Path, rng: np.random.Generator) -> np.ndarray:
    """FashionMNIST with 30 training and 10 test pictures; returns the training pictures."""
    made = {}
    for name, count in (("train", 30), ("t10k", 10)):
        made[name] = rng.integers(0, 256, (count, 28, 28))
        write_idx(raw / f"FashionMNIST/raw/{name}-images-idx3-ubyte", made[name])
        write_idx(raw / f"FashionMNIST/raw/{name}-labels-idx1-ubyte", np.arange(count) % 10)
    return made["train"]


def test_arrays_are_laid_out_as_parts_of_class_folders_of_png(cache, rng) -> None:
    arrays = write_fashion(cache / "datasets/raw/FashionMNIST", rng)
    folder = prepare("FashionMNIST", Silent())
    assert folder == cache / "datasets" / "FashionMNIST"
    assert inside(folder) == ["finished.json", "test", "train"]
    assert inside(folder / "train") == CLOTHES == inside(folder / "test")
    assert inside(folder / "train" / "T-shirt-top") == ["000000.png", "000010.png", "000020.png"]
    pixels = np.asarray(Image.open(folder / "train" / "Trouser" / "000011.png"))
    assert np.array_equal(pixels, arrays[11])
    assert json.loads((folder / "finished.json").read_text()) == {
        "name": "FashionMNIST",
        "torchvision": torchvision.__version__,
        "pictures": {"train": 30, "test": 10},
    }
    assert inside(cache / "datasets" / "raw") == []


def test_a_prepared_set_is_not_made_again(cache, rng) -> None:
    write_fashion(cache / "datasets/raw/FashionMNIST", rng)
    folder = prepare("FashionMNIST", Silent())
    (folder / "train" / "Bag" / "mine.png").touch()
    prepare("FashionMNIST", Silent())
    assert (folder / "train" / "Bag" / "mine.png").exists()


class Stopping(Silent):
    """The user presses Ctrl-C when the test part begins."""

    def __init__(self) -> None:
        self.stages = 0

    def stage(self, name: str, total: int, unit: str):
        self.stages += 1
        if self.stages == 2:
            raise KeyboardInterrupt
        return super().stage(name, total, unit)


def test_an_interrupted_preparation_leaves_nothing_behind_and_is_redone(cache, rng) -> None:
    write_fashion(cache / "datasets/raw/FashionMNIST", rng)
    with pytest.raises(KeyboardInterrupt):
        prepare("FashionMNIST", Stopping())
    assert inside(cache / "datasets") == ["raw"]
    assert inside(prepare("FashionMNIST", Silent())) == ["finished.json", "test", "train"]


def test_a_folder_without_its_marker_is_made_again(cache, rng) -> None:
    write_fashion(cache / "datasets/raw/FashionMNIST", rng)
    stale = cache / "datasets" / "FashionMNIST" / "train" / "Bag"
    stale.mkdir(parents=True)
    (stale / "half.png").touch()
    folder = prepare("FashionMNIST", Silent())
    assert inside(folder / "train" / "Bag") == ["000008.png", "000018.png", "000028.png"]


def test_original_files_are_kept_byte_for_byte(cache, tmp_path, monkeypatch) -> None:
    base = cache / "datasets/raw/DTD/dtd/dtd"
    for name in ("braided", "dotted"):
        (base / "images" / name).mkdir(parents=True)
        for i in range(3):
            draw("checks", i).save(base / "images" / name / f"{name}_{i}.jpg")
    (base / "labels").mkdir()
    for i, part in enumerate(("train", "val", "test")):
        lines = [f"{name}/{name}_{i}.jpg" for name in ("braided", "dotted")]
        (base / "labels" / f"{part}1.txt").write_text("\n".join(lines) + "\n")
    shutil.copytree(base / "images", tmp_path / "kept")
    folder = prepare("DTD", Silent())
    assert inside(folder) == ["finished.json", "test", "train", "val"]
    for i, part in enumerate(("train", "val", "test")):
        kept = (tmp_path / "kept" / "dotted" / f"dotted_{i}.jpg").read_bytes()
        assert (folder / part / "dotted" / "000001.jpg").read_bytes() == kept


def test_a_set_without_parts_becomes_plain_class_folders(cache) -> None:
    base = cache / "datasets/raw/EuroSAT/eurosat/2750"
    for name in ("Forest", "River"):
        (base / name).mkdir(parents=True)
        draw("slope", 0).save(base / name / f"{name}_1.jpg")
    folder = prepare("EuroSAT", Silent())
    assert inside(folder) == ["Forest", "River", "finished.json"]
    assert inside(folder / "River") == ["000001.jpg"]


def test_a_set_without_class_names_is_numbered(cache) -> None:
    raw = cache / "datasets/raw/USPS"
    raw.mkdir(parents=True)
    line = " ".join(f"{i}:{(i % 5) / 2 - 1}" for i in range(1, 257))
    for name in ("usps.bz2", "usps.t.bz2"):
        (raw / name).write_bytes(bz2.compress(f"1 {line}\n10 {line}\n".encode()[:-1]))
    folder = prepare("USPS", Silent())
    assert inside(folder / "train") == ["0", "9"] == inside(folder / "test")


def test_a_damaged_file_is_named_as_such_with_what_to_do(cache, rng) -> None:
    raw = cache / "datasets/raw/FashionMNIST"
    write_fashion(raw, rng)
    images = raw / "FashionMNIST/raw/train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:5000])
    with pytest.raises(
        EdgetlError, match=r"^torchvision:FashionMNIST cannot be downloaded: "
    ) as caught:
        prepare("FashionMNIST", Silent())
    assert caught.value.hint == (
        f"go online once, or copy its files to '{raw}' as torchvision lays them out; "
        "remove that folder first if a download broke off."
    )
    assert inside(cache / "datasets") == ["raw"]


def test_a_file_that_a_set_lists_and_does_not_hold_is_named(cache) -> None:
    base = cache / "datasets/raw/DTD/dtd/dtd"
    (base / "images" / "dotted").mkdir(parents=True)
    (base / "labels").mkdir()
    for part in ("train", "val", "test"):
        (base / "labels" / f"{part}1.txt").write_text("dotted/dotted_1.jpg\n")
    with pytest.raises(EdgetlError) as caught:
        prepare("DTD", Silent())
    missing = base / "images" / "dotted" / "dotted_1.jpg"
    assert str(caught.value) == (
        f"torchvision:DTD is not whole: '{missing}' cannot be read (No such file or directory)."
    )
    assert caught.value.hint == f"remove '{cache / 'datasets/raw/DTD'}' and try again."
    assert inside(cache / "datasets") == ["raw"]


def test_unknown_sets_suggest_the_nearest_and_pickled_ones_say_why() -> None:
    with pytest.raises(EdgetlError) as caught:
        prepare("FashonMNIST", Silent())
    assert str(caught.value) == "There is no data set 'torchvision:FashonMNIST'."
    assert caught.value.hint.startswith("did you mean 'FashionMNIST'? The choices are: Country211,")
    with pytest.raises(EdgetlError, match="files are pickles, which may run code"):
        prepare("CIFAR10", Silent())


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_known_set_is_one_of_torchvisions_and_takes_what_it_is_asked(name, tmp_path) -> None:
    # Without a download each loader gets as far as missing its files: the options were right.
    for asked in KNOWN[name].parts.values():
        options = {**asked, "loader": Path} if KNOWN[name].keeps_files else asked
        with pytest.raises((RuntimeError, FileNotFoundError)):
            getattr(torchvision.datasets, name)(str(tmp_path), download=False, **options)


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("T-shirt/top", "T-shirt-top"),
        ("0 - zero", "0 - zero"),
        ("../../etc/passwd", "etc-passwd"),
        ("colt's foot", "colt's foot"),
        (".hidden", "hidden"),
        ("_part", "part"),
        ("***", "class"),
        ("Käse", "Käse"),
        ("a\x00b\nc", "a-b-c"),
    ],
)
def test_class_names_become_safe_folder_names(label: str, folder: str) -> None:
    assert folder_name(label) == folder
