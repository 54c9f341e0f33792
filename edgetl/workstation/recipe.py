"""A fine-tuning recipe: data, never code; run and bundle contain its resolved form."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgetl.bundle.preprocessing import SidePx
from edgetl.core.errors import SchemaError
from edgetl.core.schema import Frozen, convert, from_yaml, read_document
from edgetl.core.shipped import shipped_file
from edgetl.data.split import Split
from edgetl.workstation.ranges import Ranges

Fraction = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=10.0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Width = Annotated[int, msgspec.Meta(ge=1, le=16_384)]
NonNegative = Annotated[float, msgspec.Meta(ge=0.0)]

# "auto" epochs: the number on a GPU and on a CPU, where training is slow; with more than
# _MANY_PICTURES fewer, but at least _LEAST_EPOCHS.
_GPU_EPOCHS, _CPU_EPOCHS, _LEAST_EPOCHS, _MANY_PICTURES = 40, 24, 12, 10_000
# The fraction of pictures that recipes are compared on.
_COMPARED_ON = 0.2


class Probe(Frozen, kw_only=True, frozen=True):
    """The linear probe on frozen features that initialises the head (LP-FT, Kumar et al. 2022).

    Attributes:
        enabled: false: the head starts from random weights.
        steps: the most steps of L-BFGS that fit the probe.
        weight_decay: its L2 penalty: larger values keep its weights smaller.
    """

    enabled: bool = True
    steps: Count = 300
    weight_decay: NonNegative = 0.1


class Head(Frozen, kw_only=True, frozen=True):
    """The layers that map a backbone's features to logits.

    Attributes:
        hidden: widths of dense layers between the features and the last layer; empty: the
            architecture's own classifier, of which only the last layer is new.
        activation: after each hidden layer.
        dropout: before the last layer, and after each hidden one; null: the architecture's own.
        outputs: "sigmoid" is one logit for two classes, above 0 for the second label.
    """

    hidden: Annotated[tuple[Width, ...], msgspec.Meta(max_length=8)] = ()
    activation: Literal["relu", "relu6"] = "relu"
    dropout: Fraction | None = None
    outputs: Literal["softmax", "sigmoid"] = "softmax"

    def width(self, classes: int) -> int:
        """How many logits the last layer outputs.

        Raises SchemaError if "sigmoid" is combined with other than 2 classes.
        """
        if self.outputs == "softmax":
            return classes
        if classes != 2:
            raise SchemaError(
                f"A head with one sigmoid output tells 2 classes apart; there are {classes}.",
                hint="--set head.outputs=softmax",
            )
        return 1


class FineTune(Frozen, kw_only=True, frozen=True):
    """The gradient steps after the probe.

    Attributes:
        epochs: 0 leaves the probe's head on the frozen backbone; "auto" is 40 on a GPU and 24 on a
            CPU, with more than 10,000 training pictures fewer, down to 12.
        batch: pictures in a training step.
        optimizer: torch's "adam", "adamw", "sgd" (with Nesterov's momentum) or "rmsprop" (which
            smooths with 0.9, as Keras does).
        trainable_blocks: how many of the backbone's last blocks are trained; 0: only the head;
            null: all.
        unfreeze_every: epochs after which one more block is trained (gradual unfreezing, Howard &
            Ruder 2018), beginning with `trainable_blocks`; 0: never.
        momentum: of SGD and RMSprop; null: the usual one (0.9 and 0).
        head_rate, backbone_rate: peak learning rates.
        layer_decay: each block's rate is this times the rate of the block behind it.
        schedule: "onecycle" and "cosine" fall to nearly zero; "step" multiplies by
            `drop_factor` every `drop_every` epochs (null: a third of all epochs), "plateau" after
            `patience` epochs (null: 2) without a lower validation loss, or training loss if
            there is no validation part.
        drop_factor: what "step" and "plateau" multiply the learning rates by.
        drop_every: epochs between two drops of "step"; null: a third of all epochs.
        patience: epochs that "plateau" waits for a lower loss; null: 2.
        warmup: the fraction of all steps in which the rate rises.
        weight_decay: decoupled for AdamW, added to the gradient for the others.
        label_smoothing: the share of each target that is spread evenly over all classes.
        l2sp: pull of the backbone towards its pretrained weights (Li et al. 2018).
        imbalance: "weights" weights the loss by the inverse of each class's share, "sampling" shows
            every class equally often, "logit-adjustment" adds the log share to the logits in
            training (Menon et al. 2021), "auto" weights by the inverse square root of the share
            if the largest class has over 1.5 times the pictures of the smallest.
        clip_norm: gradients with a larger norm are scaled down to it; 0: never.
        ema: decay of the weights' exponential moving average, e.g. 0.99; 0: no average. The
            averaged network is the one that is scored and saved.
        stop_after: end training after this many epochs without a lower calibrated validation
            loss; null: never. Needs a validation part.
        norms: "batch" normalises by each batch's own statistics; "frozen" by those that were
            re-estimated on the pictures before the probe (or came with the weights), which saves
            about a third of the time and needs pretrained weights.
        train_size: side of training pictures, as a fraction of the network's, rounded so that it
            is the network's minus a multiple of 8 px. A random crop shows objects larger than
            the whole pictures of inference do; smaller training pictures even that out, and
            save time (Touvron et al. 2019, "Fixing the train-test resolution discrepancy"). It
            and `first_size_px` apply only if the whole network is trained: in front of frozen
            blocks, which run once, pictures are of the network's size.
        first_size_px: training pictures grow from this side to the final one over the first three
            quarters of the epochs (Howard & Gugger 2020; Tan & Le 2021, EfficientNetV2); null:
            they are of one size throughout.
        cached_views: number of augmented views of each picture whose activations are cached if
            the front of the network is frozen, so that it runs once instead of every epoch.
    """

    epochs: Count | Literal["auto"] = 12
    batch: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 32
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "adamw"
    momentum: Fraction | None = None
    head_rate: Rate = 1e-3
    backbone_rate: Rate = 5e-4
    layer_decay: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    schedule: Literal["onecycle", "cosine", "step", "plateau", "constant"] = "onecycle"
    warmup: Fraction = 0.2
    drop_factor: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.1
    drop_every: Annotated[int, msgspec.Meta(ge=1)] | None = None
    patience: Count | None = None
    weight_decay: NonNegative = 0.02
    l2sp: NonNegative = 0.0
    label_smoothing: Fraction = 0.05
    imbalance: Literal["auto", "none", "weights", "sampling", "logit-adjustment"] = "auto"
    trainable_blocks: Annotated[int, msgspec.Meta(ge=0)] | None = None
    unfreeze_every: Count = 0
    clip_norm: NonNegative = 5.0
    ema: Fraction = 0.0
    stop_after: Annotated[int, msgspec.Meta(ge=1)] | None = None
    norms: Literal["batch", "frozen"] = "batch"
    train_size: Annotated[float, msgspec.Meta(ge=0.25, le=1.0)] = 1.0
    first_size_px: SidePx | None = None
    cached_views: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8

    def __post_init__(self) -> None:
        if self.momentum is not None and self.optimizer.startswith("adam"):
            raise ValueError(f"momentum is not a setting of {self.optimizer}; leave it away")
        if self.unfreeze_every and self.trainable_blocks is None:
            raise ValueError("unfreeze_every needs trainable_blocks to begin with, e.g. 0")

    @property
    def total_epochs(self) -> int:
        """`epochs` as a number, after `with_epochs` has replaced "auto"."""
        assert self.epochs != "auto"
        return self.epochs


class Augment(Frozen, kw_only=True, frozen=True):
    """The augmentation of training pictures; held-out pictures are never augmented.

    Attributes:
        min_area: smallest fraction of the picture's area in a random crop.
        stretch: largest ratio of a crop's sides.
        flip: "none", "horizontal", "both" (upside down as well), "any" (quarter turns too, for
            pictures without an up, e.g. aerial), or "auto": those that the linear probe
            tolerates (see `flips.find_flips`), "horizontal" without a probe.
        brightness, contrast, saturation: largest relative change.
        rand_augment: strength, 0 to 30, of two random operations a picture (RandAugment, Cubuk
            et al. 2020); 0: none.
        mixup, cutmix: alpha of the mixing ratio's beta distribution (Zhang et al. 2018, Yun et
            al. 2019); 0: none. With both, each picture gets one of them.
        erase: the fraction of pictures that lose a random rectangle (Zhong et al. 2020).
        blur, darken, colour_cast, noise: the fraction of pictures that are blurred, that lose up
            to three stops of light, that get a warm or cold cast, and that get noise, as from a
            cheap camera in bad light.
    """

    min_area: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5
    stretch: Annotated[float, msgspec.Meta(ge=1.0, le=4.0)] = 1.25
    flip: Literal["auto", "none", "horizontal", "both", "any"] = "auto"
    brightness: Fraction = 0.2
    contrast: Fraction = 0.2
    saturation: Fraction = 0.2
    rand_augment: Annotated[int, msgspec.Meta(ge=0, le=30)] = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    erase: Fraction = 0.0
    blur: Fraction = 0.0
    darken: Fraction = 0.0
    colour_cast: Fraction = 0.0
    noise: Fraction = 0.0

    @property
    def degrades(self) -> bool:
        """Whether some pictures are blurred, darkened, colour-cast or noisy."""
        return any((self.blur, self.darken, self.colour_cast, self.noise))


Preset = Literal["none", "light", "strong", "robust"]
STILL = Augment(
    min_area=1.0, stretch=1.0, flip="none", brightness=0.0, contrast=0.0, saturation=0.0
)
PRESETS: dict[Preset, Augment] = {
    "none": STILL,
    "light": Augment(),
    "strong": Augment(min_area=0.35, rand_augment=9, mixup=0.2, cutmix=1.0, erase=0.25),
    "robust": Augment(min_area=0.8, stretch=1.2, blur=0.1, darken=0.1, colour_cast=0.1, noise=0.1),
}


class Distil(Frozen, kw_only=True, frozen=True):
    """How a network learns from a teacher (`finetune --teacher`); without one, nothing applies.

    Attributes:
        weight: the share of the teacher's loss; the rest is the labels'. With 1 the labels are not
            learned from, with 0 only the teacher's features are.
        temperature: what the logits of both are divided by before they are compared: larger values
            show more of what the teacher thinks of the other classes (Hinton et al. 2015).
        features: the weight of a loss on features: the angle between the teacher's last features
            and a linear projection of the network's own; 0: none.
    """

    weight: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5
    temperature: Annotated[float, msgspec.Meta(gt=0.0, le=100.0)] = 2.0
    features: NonNegative = 0.0

    def __post_init__(self) -> None:
        if not self.weight and not self.features:
            raise ValueError("a teacher needs weight or features above 0")


class Adapt(Frozen, kw_only=True, frozen=True):
    """How a network is adapted to pictures of another place (`finetune --adapt`).

    Attributes:
        method: "batch-norm" re-estimates batch-norm statistics on them after training (Li et al.
            2016), "coral" makes the logits' covariances alike (Sun & Saenko 2016), "adversarial"
            makes the features indistinguishable to a classifier of the two places (Ganin et al.
            2016); "auto" tries all three. The plain network is always trained beside them.
        weight: of the loss of "coral", and of the reversed gradient of "adversarial".
    """

    method: Literal["auto", "batch-norm", "coral", "adversarial"] = "auto"
    weight: NonNegative = 1.0


class Recipe(Frozen, kw_only=True, frozen=True):
    """Everything that decides a fine-tuning run.

    Attributes:
        description: what the recipe is for; `edgetl recipes list` shows it.
        backbone: the architecture's name.
        weights: what the backbone starts from: "imagenet"; "none", random weights; or the path of a
            .pth or .safetensors file.
        image_size_px: side of the network's square input, in pixels; null: the backbone's own.
        seed: decides the split, the random weights and the order and crops of the pictures.
        precision: "bf16" trains in bfloat16 (torch's autocast), "fp32" in float32; "auto"
            is bfloat16 if the processor or GPU has instructions for it.
        split: how the pictures are split.
        head: the layers behind the features.
        probe: the linear probe before fine-tuning.
        finetune: the gradient steps.
        augment: the augmentation of training pictures, or the name of a preset.
        distil: how the network learns from a teacher, if there is one.
        adapt: how the network is adapted to pictures of another place, if there are any.
    """

    description: str = ""
    backbone: str = "mobilenet_v2"
    weights: str = "imagenet"
    image_size_px: SidePx | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    split: Split = Split()
    head: Head = Head()
    probe: Probe = Probe()
    finetune: FineTune = FineTune()
    augment: Augment | Preset = Augment()
    distil: Distil = Distil()
    adapt: Adapt = Adapt()

    @property
    def augmentation(self) -> Augment:
        """`augment`, with a preset's name replaced by its values."""
        return PRESETS[self.augment] if isinstance(self.augment, str) else self.augment


DEFAULT_RECIPE = "edge-default"
# The resolved recipe in a run folder.
RECIPE_FILE = "recipe.yaml"


class _RecipeFile(Recipe, kw_only=True, frozen=True):
    """A recipe as a file: it may declare ranges for `edgetl search`, which no run has."""

    search: Ranges = {}


def load_recipe(name_or_path: str) -> Recipe:
    """Load a shipped recipe by name, or a YAML file by path.

    Raises SchemaError if there is no such recipe or it is invalid.
    """
    file = _read(name_or_path)
    recipe = Recipe(**{name: getattr(file, name) for name in Recipe.__struct_fields__})
    return with_preset_values(recipe)


def load_ranges(name_or_path: str) -> Ranges:
    """Load the ranges that a recipe declares for `edgetl search`; empty: none.

    Raises SchemaError as `load_recipe` does.
    """
    return _read(name_or_path).search


def _read(name_or_path: str) -> _RecipeFile:
    looks_like_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path) if looks_like_path else shipped_file("recipes", name_or_path)
    return from_yaml(read_document(path), _RecipeFile, where=f"recipe '{path.name}'")


def with_preset_values(recipe: Recipe) -> Recipe:
    """The recipe with a preset's name replaced by its values."""
    return msgspec.structs.replace(recipe, augment=recipe.augmentation)


def with_epochs(recipe: Recipe, pictures: int, *, gpu: bool) -> Recipe:
    """The recipe with "auto" epochs replaced by the number for this many training pictures."""
    settings = recipe.finetune
    if settings.epochs != "auto":
        return recipe
    most = _GPU_EPOCHS if gpu else _CPU_EPOCHS
    epochs = min(most, max(_LEAST_EPOCHS, math.ceil(most * _MANY_PICTURES / pictures)))
    return msgspec.structs.replace(
        recipe, finetune=msgspec.structs.replace(settings, epochs=epochs)
    )


def with_validation(recipe: Recipe) -> Recipe:
    """The recipe with a validation part: its own, or else a fifth of the pictures.

    It is for comparing recipes without the test part.
    """
    split = msgspec.structs.replace(recipe.split, val=recipe.split.val or _COMPARED_ON)
    return msgspec.structs.replace(recipe, split=split)


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Apply `--set finetune.batch=64`-style assignments.

    Raises SchemaError for an assignment that is not KEY=VALUE, an unknown key or a bad value.
    """
    values = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not key or not equals:
            raise SchemaError(
                f"--set '{assignment}' is not KEY=VALUE.", hint="e.g. --set finetune.batch=64"
            )
        values.append((key, _scalar(text)))
    return with_values(recipe, values, where="recipe with --set")


def with_values(recipe: Recipe, values: Iterable[tuple[str, Any]], *, where: str) -> Recipe:
    """Replace the values of some keys, e.g. ("finetune.batch", 64), one after another.

    Raises SchemaError, naming `where` they are from, for an unknown key or a bad value.
    """
    tree: dict[str, Any] = msgspec.to_builtins(with_preset_values(recipe))
    for key, value in values:
        if key == "augment" and isinstance(value, str) and value in PRESETS:
            value = msgspec.to_builtins(PRESETS[value])
        _assign(tree, key.split("."), value)
    return convert(tree, Recipe, where=where)


def _assign(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = tree.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SchemaError(f"--set {'.'.join(path)}: '{name}' has no keys inside it.")
        tree = inner
    tree[path[-1]] = value


def _scalar(text: str) -> Any:
    """`64`, `0.5`, `true` and `null` as themselves; anything else is text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
