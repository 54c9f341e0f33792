"""Torchvision's image-classification data sets that can be loaded by name, as a table.

Left out on purpose: CIFAR10 and CIFAR100, whose loaders unpickle what they download, and
unpickling runs whatever code a file holds; sets that must be fetched by hand (ImageNet, FER2013,
StanfordCars, Places365's mirror); and sets of boxes, masks, pairs or videos.
"""

from collections.abc import Mapping
from typing import NamedTuple

from edgetl.core.errors import EdgetlError
from edgetl.core.schema import unknown_choice_hint

ConstructorOptions = Mapping[str, bool | str]


class KnownSet(NamedTuple):
    """How to load one of torchvision's data sets.

    Attributes:
        parts: its constructor's options for each part; the part "" is the whole of a set that
            has no parts.
        keeps_files: whether its `loader` gets the paths of the original picture files.
        classes: the number of classes of a set without class names; else 0.
    """

    parts: Mapping[str, ConstructorOptions]
    keeps_files: bool = False
    classes: int = 0


_BY_FLAG: Mapping[str, ConstructorOptions] = {"train": {"train": True}, "test": {"train": False}}
_TWO: Mapping[str, ConstructorOptions] = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: Mapping[str, ConstructorOptions] = {**_TWO, "val": {"split": "val"}}

KNOWN: Mapping[str, KnownSet] = {
    "Country211": KnownSet({**_TWO, "val": {"split": "valid"}}, keeps_files=True),
    "DTD": KnownSet(_THREE, keeps_files=True),
    # Of its six variants, the one whose class names differ by more than upper and lower case.
    "EMNIST": KnownSet(
        {name: {**options, "split": "letters"} for name, options in _BY_FLAG.items()}
    ),
    "EuroSAT": KnownSet({"": {}}, keeps_files=True),
    "FGVCAircraft": KnownSet(_THREE, keeps_files=True),
    "FashionMNIST": KnownSet(_BY_FLAG),
    "Flowers102": KnownSet(_THREE, keeps_files=True),
    "Food101": KnownSet(_TWO, keeps_files=True),
    "GTSRB": KnownSet(_TWO, classes=43),
    "Imagenette": KnownSet(
        {"train": {"split": "train"}, "val": {"split": "val"}}, keeps_files=True
    ),
    "KMNIST": KnownSet(_BY_FLAG),
    "MNIST": KnownSet(_BY_FLAG),
    "OxfordIIITPet": KnownSet({"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "RenderedSST2": KnownSet(_THREE, keeps_files=True),
    "STL10": KnownSet(_TWO),
    "SUN397": KnownSet({"": {}}, keeps_files=True),
    "SVHN": KnownSet(_TWO, classes=10),
    "USPS": KnownSet(_BY_FLAG, classes=10),
}


def known_set(name: str) -> KnownSet:
    """Look a data set up by torchvision's name.

    Raises EdgetlError, with the most similar name, if it is not offered.
    """
    if name in ("CIFAR10", "CIFAR100"):
        raise EdgetlError(
            f"torchvision:{name} is not offered: its files are pickles, which may run code.",
            hint="lay its pictures out as class folders and give that folder.",
        )
    if name not in KNOWN:
        raise EdgetlError(
            f"There is no data set 'torchvision:{name}'.", hint=unknown_choice_hint(name, KNOWN)
        )
    return KNOWN[name]
