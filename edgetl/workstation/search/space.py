"""What is searched: a recipe's ranges, checked against the recipe's own schema."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import inspect as schema

from edgetl.core.errors import SchemaError
from edgetl.core.schema import unknown_choice_hint
from edgetl.workstation.ranges import Between, Range, Ranges, Scalar
from edgetl.workstation.recipe import PRESETS, Recipe, with_values
from edgetl.workstation.user_recipe import without_effect

# Trials that differ in these would be scored on different pictures, or differ in nothing.
_NEVER = ("description", "seed", "split")
# How far the ranges reach that are used if a recipe declares none.
_RATE_FACTOR, _DECAY_FACTOR, _LEAST_AREA, _MOST_RATE = 4.0, 10.0, 0.3, 10.0
_EXAMPLE = "search: {finetune.backbone_rate: {low: 1e-4, high: 2e-3, log: true}}"


class Space(NamedTuple):
    """A recipe, and the ranges of those of its keys that are searched.

    Attributes:
        recipe: the recipe; its own values lie in the ranges.
        ranges: by key, e.g. "finetune.epochs".
        integers: the keys that hold integers.
    """

    recipe: Recipe
    ranges: Ranges
    integers: frozenset[str]

    @property
    def own_values(self) -> dict[str, Scalar]:
        """The recipe's own value of each key that is searched."""
        return {key: value_of(self.recipe, key) for key in self.ranges}

    def with_values(self, values: Mapping[str, Scalar]) -> Recipe:
        """The recipe with other values. Raises SchemaError if they do not go together."""
        return with_values(self.recipe, values.items(), where="recipe with searched values")


def make_space(recipe: Recipe, ranges: Ranges) -> Space:
    """Check ranges against a recipe whose epochs are a number.

    Args:
        recipe: the recipe.
        ranges: what it declares; empty: ranges around the recipe's own learning rates, weight decay
            and smallest crop are used.

    Raises SchemaError for a key that is unknown, may not be searched or has no effect, for an end
    or choice that the recipe's schema does not allow, and for a recipe's own value outside its
    range.
    """
    ranges = ranges or _usual_ranges(recipe)
    types = {key: _type_of(key) for key in ranges}
    space = Space(
        recipe, ranges, frozenset(key for key, kinds in types.items() if _integral(kinds))
    )
    for key in ranges:
        _require_searchable(key, ranges)
    variants = [recipe, *_variants(space)]
    for key, own in space.own_values.items():
        _require_inside(key, ranges[key], own)
    idle = [without_effect(variant) for variant in variants]
    for key in ranges:
        if all(key in reasons for reasons in idle):
            raise SchemaError(
                f"Searching {key} would have no effect: {idle[0][key]}.",
                hint="leave it out of 'search', or change what it depends on.",
            )
    return space


def value_of(recipe: Recipe, key: str) -> Any:
    """A recipe's value of a key, e.g. "finetune.batch"; of "augment", the name of its preset."""
    if key == "augment":
        return next((name for name, it in PRESETS.items() if it == recipe.augmentation), None)
    value: Any = recipe
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _usual_ranges(recipe: Recipe) -> Ranges:
    """Ranges around the recipe's own values, of keys that matter on most pictures."""
    settings, area = recipe.finetune, recipe.augmentation.min_area
    idle = without_effect(recipe)
    ranges: Ranges = {
        f"finetune.{name}": Between(
            low=rate / _RATE_FACTOR, high=min(_MOST_RATE, rate * _RATE_FACTOR), log=True
        )
        for name in ("backbone_rate", "head_rate")
        if f"finetune.{name}" not in idle and (rate := getattr(settings, name)) < _MOST_RATE
    }
    if decay := settings.weight_decay:
        ranges["finetune.weight_decay"] = Between(
            low=decay / _DECAY_FACTOR, high=decay * _DECAY_FACTOR, log=True
        )
    ranges["augment.min_area"] = Between(low=min(area, _LEAST_AREA), high=1.0)
    return ranges


def _require_searchable(key: str, ranges: Ranges) -> None:
    section = key.split(".")[0]
    if section in _NEVER:
        raise SchemaError(
            f"'{section}' cannot be searched: all trials are to be scored on the same pictures.",
            hint="set it once with --set.",
        )
    if any(other.startswith(f"{key}.") for other in ranges):
        raise SchemaError(
            f"'{key}' is searched as a whole and by its keys.", hint="search either of the two."
        )
    choices = ranges[key]
    if not isinstance(choices, Between) and len({(type(c), c) for c in choices}) < len(choices):
        raise SchemaError(f"search: '{key}' lists a choice twice.")


def _variants(space: Space) -> Iterator[Recipe]:
    """The recipe with each end or choice of each range. Raises SchemaError for an invalid one."""
    for key, declared in space.ranges.items():
        if isinstance(declared, Between):
            _require_numbers(key, declared, space)
            values: tuple[Scalar, ...] = (declared.low, declared.high)
        else:
            values = declared
        for value in values:
            yield with_values(space.recipe, [(key, value)], where=f"search: {key}: {value}")


def _require_numbers(key: str, declared: Between, space: Space) -> None:
    ends = (declared.low, declared.high, declared.step)
    if key in space.integers and any(isinstance(end, float) for end in ends):
        raise SchemaError(
            f"search: '{key}' holds integers, and its range does not.",
            hint="write low, high and step without a decimal point.",
        )


def _require_inside(key: str, declared: Range, own: Scalar) -> None:
    """Raise SchemaError if the recipe's own value, which is tried first, is not in the range."""
    inside = declared.holds(own) if isinstance(declared, Between) else own in declared
    if not inside:
        shown = "null" if own is None else own
        raise SchemaError(
            f"search: the range of '{key}' does not hold the recipe's own value, {shown}.",
            hint="the first trial is the recipe itself: widen the range, or set the recipe's own "
            f"value, --set {key}=VALUE.",
        )


def _type_of(key: str) -> list[schema.Type]:
    """The types that a key of a recipe may have. Raises SchemaError if there is no such key."""
    kinds = [schema.type_info(Recipe)]
    for name in key.split("."):
        records = [kind for kind in kinds if isinstance(kind, schema.StructType)]
        fields = {field.name: field.type for record in records for field in record.fields}
        if name not in fields:
            hint = unknown_choice_hint(name, fields) if fields else f"e.g. {_EXAMPLE}"
            raise SchemaError(f"search: a recipe has no key '{key}'.", hint=hint)
        kinds = list(_flat(fields[name]))
    return kinds


def _flat(kind: schema.Type) -> Iterator[schema.Type]:
    """The types of a union; another type by itself."""
    if isinstance(kind, schema.UnionType):
        for inner in kind.types:
            yield from _flat(inner)
    else:
        yield kind


def _integral(kinds: list[schema.Type]) -> bool:
    found = {type(kind) for kind in kinds}
    return schema.IntType in found and schema.FloatType not in found
