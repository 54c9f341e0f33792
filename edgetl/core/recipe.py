"""A fine-tuning recipe: data, never code. Its resolved form is kept in the run and the bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgetl.core.errors import SchemaError
from edgetl.core.preprocess import SidePx
from edgetl.core.schema import Frozen, convert, from_yaml, read_document
from edgetl.core.shipped import shipped_file

Fraction = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=10.0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class Split(Frozen, kw_only=True, frozen=True):
    """How one folder of classes is parted, stratified by class.

    `val` picks the best epoch; `test` is touched once, at the end, and by the artifacts'
    measurements. Data that comes as train/val(/test) folders keeps its own parts.
    """

    val: Fraction = 0.1
    test: Fraction = 0.2


class Probe(Frozen, kw_only=True, frozen=True):
    """The linear probe on frozen features that starts the head off (LP-FT, Kumar et al. 2022)."""

    enabled: bool = True
    steps: Count = 300
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0)] = 0.1


class FineTune(Frozen, kw_only=True, frozen=True):
    """The gradient steps after the probe.

    Attributes:
        epochs: 0 leaves the probe's head on the frozen backbone.
        trainable_blocks: the last k blocks of the backbone learn; null: all of them.
        head_rate, backbone_rate: peak learning rates of a one-cycle schedule.
        warmup: the part of all steps in which the rate rises.
    """

    epochs: Count = 12
    batch: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 32
    optimizer: Literal["sgd", "adamw"] = "adamw"
    head_rate: Rate = 1e-3
    backbone_rate: Rate = 5e-4
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0)] = 0.02
    warmup: Fraction = 0.2
    label_smoothing: Fraction = 0.05
    trainable_blocks: Annotated[int, msgspec.Meta(ge=0)] | None = None
    class_weights: Literal["auto", "none"] = "auto"


class Augment(Frozen, kw_only=True, frozen=True):
    """What training pictures go through; held-out pictures never do.

    Attributes:
        min_area: smallest part of the picture a random crop keeps.
        flip: "none", "horizontal", or "both" (pictures without an up, e.g. aerial).
        brightness, contrast, saturation: largest relative change.
    """

    min_area: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5
    flip: Literal["none", "horizontal", "both"] = "horizontal"
    brightness: Fraction = 0.2
    contrast: Fraction = 0.2
    saturation: Fraction = 0.2


class Recipe(Frozen, kw_only=True, frozen=True):
    """Everything that decides a fine-tuning run.

    `image_size_px` null means the backbone's own. `precision` "auto" takes bfloat16 where the
    processor has instructions for it.
    """

    description: str = ""
    backbone: str = "mobilenet_v2"
    weights: str = "imagenet"
    image_size_px: SidePx | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    split: Split = Split()
    probe: Probe = Probe()
    finetune: FineTune = FineTune()
    augment: Augment = Augment()


DEFAULT_RECIPE = "edge-default"


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name, or a YAML file. Raises SchemaError."""
    looks_like_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path) if looks_like_path else shipped_file("recipes", name_or_path)
    return from_yaml(read_document(path), Recipe, where=f"recipe '{path.name}'")


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Apply `--set finetune.batch=64`-style assignments.

    Raises SchemaError for a form that is not KEY=VALUE, an unknown key or a bad value.
    """
    tree: dict[str, Any] = msgspec.to_builtins(recipe)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not key or not equals:
            raise SchemaError(
                f"--set '{assignment}' is not KEY=VALUE.", hint="e.g. --set finetune.batch=64"
            )
        _assign(tree, key.split("."), _scalar(text))
    return convert(tree, Recipe, where="recipe with --set")


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
