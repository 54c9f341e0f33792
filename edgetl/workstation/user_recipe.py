"""The recipe that a user asks for: loaded, changed, and without settings that would do nothing."""

from collections.abc import Sequence
from typing import Any

from edgetl.core.errors import SchemaError
from edgetl.workstation.recipe import Adapt, Distil, Recipe, load_recipe, override

# Defaults of earlier versions, which the recipes of old runs contain.
_FORMER_DEFAULTS = {"finetune.patience": 2}


def user_recipe(
    name_or_path: str,
    assignments: Sequence[str] = (),
    *,
    teacher: bool = False,
    adapts: bool = False,
) -> Recipe:
    """Load the recipe that a user names and apply `--set`-style assignments.

    `teacher` and `adapts`: whether a teacher, or pictures to adapt to, are given, which a recipe
    does not name.

    Raises SchemaError as `load_recipe` and `override` do, and for a setting that has no effect
    given the others. A recipe file may list every key, as a run's does: in a file only a value
    other than the default counts as a setting.
    """
    loaded = load_recipe(name_or_path)
    recipe = override(loaded, assignments)
    idle = without_effect(recipe, teacher=teacher, adapts=adapts)
    given = {assignment.partition("=")[0] for assignment in assignments}
    listed = set(without_effect(loaded, teacher=teacher, adapts=adapts))
    # A recipe cannot know of a teacher: what has no effect only because of it may stay in the file.
    listed &= set(without_effect(loaded, adapts=adapts))
    given |= {key for key in listed if _value(loaded, key) not in _defaults(key)}
    for key in sorted(given & idle.keys()):
        raise SchemaError(
            f"{key} has no effect here: {idle[key]}.",
            hint="leave it away, or change what it depends on; edgetl recipes show NAME prints all "
            "settings of a recipe.",
        )
    return recipe


def without_effect(
    recipe: Recipe, *, teacher: bool = False, adapts: bool = False
) -> dict[str, str]:
    """The keys that have no effect given the others, with the reason for each."""
    settings, idle = recipe.finetune, _without_effect_on_teaching(recipe, teacher=teacher)
    idle |= _without_effect_on_adapting(recipe, adapts=adapts)
    frozen = settings.trainable_blocks is not None
    if settings.schedule != "plateau":
        idle["finetune.patience"] = "only the schedule 'plateau' waits"
    if settings.schedule != "step":
        idle["finetune.drop_every"] = "only the schedule 'step' drops at given epochs"
    if settings.schedule not in ("step", "plateau"):
        idle["finetune.drop_factor"] = "only the schedules 'step' and 'plateau' drop"
    if frozen:
        why = "with finetune.trainable_blocks all pictures are of the network's size"
        idle |= {"finetune.train_size": why, "finetune.first_size_px": why}
    if not frozen or settings.unfreeze_every:
        idle["finetune.cached_views"] = "no part of the network stays frozen throughout"
    if settings.trainable_blocks == 0 and not settings.unfreeze_every:
        why = "the backbone does not learn (finetune.trainable_blocks is 0)"
        keys = ("backbone_rate", "layer_decay", "l2sp")
        idle |= {f"finetune.{key}": why for key in keys}
    if not recipe.probe.enabled:
        why = "the probe is off (probe.enabled)"
        idle |= {"probe.steps": why, "probe.weight_decay": why}
    if not recipe.head.hidden:
        idle["head.activation"] = "the head has no hidden layers (head.hidden)"
    if recipe.split.folds:
        idle["split.test"] = "with folds each fold is the test part once"
    return idle


def _without_effect_on_teaching(recipe: Recipe, *, teacher: bool) -> dict[str, str]:
    if not teacher:
        why = "there is no teacher (--teacher)"
        return {f"distil.{key}": why for key in Distil.__struct_fields__}
    idle = {"finetune.cached_views": "a teacher looks at pictures, not at cached activations"}
    if not recipe.distil.weight:
        idle["distil.temperature"] = "the teacher's answers are not used (distil.weight is 0)"
    return idle


def _without_effect_on_adapting(recipe: Recipe, *, adapts: bool) -> dict[str, str]:
    if not adapts:
        why = "there are no pictures to adapt to (--adapt)"
        return {f"adapt.{key}": why for key in Adapt.__struct_fields__}
    if recipe.adapt.method == "batch-norm":
        return {"adapt.weight": "re-estimating batch-norm statistics has no loss"}
    return {}


def _value(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _defaults(key: str) -> tuple[Any, ...]:
    return _value(Recipe(), key), _FORMER_DEFAULTS.get(key)
