"""The ranges that a recipe declares: which are right, and what is said of those that are not."""

from pathlib import Path

import pytest

from edgetl.core.errors import SchemaError
from edgetl.core.schema import from_yaml, to_yaml
from edgetl.workstation.ranges import Between, Ranges
from edgetl.workstation.recipe import (
    PRESETS,
    Recipe,
    load_ranges,
    load_recipe,
    override,
)
from edgetl.workstation.search.space import make_space
from edgetl.workstation.user_recipe import user_recipe

EPOCHS = {"finetune.epochs": Between(low=6, high=16, step=2)}


def written(folder: Path, search: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(f"finetune: {{epochs: 8}}\nsearch: {search}\n")
    return str(path)


def test_a_recipe_file_declares_ranges_that_no_recipe_has(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "{finetune.backbone_rate: {low: 1e-4, high: 2e-3, log: true},"
        " finetune.epochs: {low: 6, high: 16, step: 2}, finetune.optimizer: [adamw, sgd]}",
    )
    ranges = load_ranges(path)
    assert ranges == {
        "finetune.backbone_rate": Between(low=1e-4, high=2e-3, log=True),
        **EPOCHS,
        "finetune.optimizer": ("adamw", "sgd"),
    }
    recipe = user_recipe(path)
    assert recipe == override(Recipe(), ["finetune.epochs=8"])  # `finetune -r` takes the file, too
    assert type(recipe) is Recipe and "search" not in to_yaml(recipe)
    space = make_space(recipe, ranges)
    assert space.integers == {"finetune.epochs"}
    own = {"finetune.backbone_rate": 5e-4, "finetune.epochs": 8, "finetune.optimizer": "adamw"}
    assert space.own_values == own
    changed = space.with_values({"finetune.epochs": 16, "finetune.optimizer": "sgd"})
    assert (changed.finetune.epochs, changed.finetune.optimizer) == (16, "sgd")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{finetune.epochs: {low: 6, hihg: 16}}", "unknown field `hihg`"),
        ("{finetune.epochs: {low: 6}}", "missing required field `high`"),
        ("{finetune.epochs: {low: 16, high: 6}}", "16 is not below 6"),
        ("{finetune.epochs: {low: 6, high: 6}}", "6 is not below 6"),
        ("{finetune.epochs: {low: many, high: 6}}", "Expected `int | float`, got `str`"),
        ("{finetune.epochs: {low: 6, high: .nan}}", "6 is not below nan"),
        ("{finetune.epochs: {low: 6, high: 16, step: 3}}", "steps of 3 do not lead from 6 to 16"),
        ("{finetune.epochs: {low: 6, high: 16, step: 0}}", "steps of 0"),
        ("{finetune.l2sp: {low: 0, high: 1, log: true}}", "low has to be above 0"),
        ("{finetune.l2sp: {low: 1, high: 3, step: 1, log: true}}", "log and step exclude"),
        ("{finetune.optimizer: [adamw]}", "length >= 2"),
        ("{finetune.optimizer: adamw}", "search"),
        ("[finetune.epochs]", "Expected `object`"),
    ],
)
def test_a_malformed_range_is_refused_wherever_the_file_is_read(
    tmp_path: Path, search: str, message: str
) -> None:
    path = written(tmp_path, search)
    for read in (load_ranges, load_recipe):
        with pytest.raises(SchemaError, match=r"recipe 'mine\.yaml'") as caught:
            read(path)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"finetune.rate": EPOCHS["finetune.epochs"]}, "a recipe has no key 'finetune.rate'"),
        ({"finetune": ("a", "b")}, "search: finetune: a"),
        ({"finetune.batch.size": (1, 2)}, "a recipe has no key 'finetune.batch.size'"),
        ({"seed": Between(low=0, high=9)}, "'seed' cannot be searched"),
        ({"split.val": Between(low=0.1, high=0.3)}, "'split' cannot be searched"),
        ({"finetune.batch": Between(low=1, high=64)}, "search: finetune.batch: 1"),
        ({"finetune.batch": Between(low=8, high=64.5)}, "'finetune.batch' holds integers"),
        ({"augment.erase": Between(low=0.0, high=1.0)}, "search: augment.erase: 1.0"),
        ({"finetune.optimizer": ("adamw", "lion")}, "search: finetune.optimizer: lion"),
        ({"finetune.optimizer": ("adamw", "adamw")}, "lists a choice twice"),
        ({"finetune.optimizer": ("sgd", "adam")}, "does not hold the recipe's own value, adamw"),
        ({"finetune.batch": Between(low=64, high=128)}, "own value, 32"),
        ({"finetune.batch": Between(low=30, high=40, step=5)}, "own value, 32"),
        ({"finetune.momentum": Between(low=0.5, high=0.9)}, "momentum is not a setting of adamw"),
        ({"finetune.drop_factor": Between(low=0.1, high=0.5)}, "have no effect"),
        (
            {"augment": ("light", "strong"), "augment.min_area": Between(low=0.3, high=0.9)},
            "'augment' is searched as a whole and by its keys",
        ),
    ],
)
def test_a_range_that_the_recipe_does_not_allow_is_refused_before_the_first_trial(
    ranges: Ranges, message: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        make_space(Recipe(), ranges)
    assert message in str(caught.value)


def test_presets_of_augmentation_are_searched_by_name() -> None:
    space = make_space(Recipe(), {"augment": ("light", "strong")})
    assert space.own_values == {"augment": "light"}
    assert space.with_values({"augment": "strong"}).augmentation == PRESETS["strong"]


def test_a_key_may_depend_on_another_one_that_is_searched() -> None:
    ranges: Ranges = {
        "finetune.schedule": ("onecycle", "step"),
        "finetune.drop_factor": Between(low=0.1, high=0.5),
    }
    assert list(make_space(Recipe(), ranges).ranges) == list(ranges)


@pytest.mark.parametrize("name", ["edge-fast", "edge-best", "resnet18-sgd", "vgg16-frozen-binary"])
def test_without_ranges_the_usual_ones_lie_around_the_recipes_own_values(name: str) -> None:
    recipe = load_recipe(name)
    space = make_space(recipe, {})
    assert {"finetune.head_rate", "augment.min_area"} <= set(space.ranges)
    assert ("finetune.backbone_rate" in space.ranges) == (recipe.finetune.trainable_blocks != 0)
    area = space.ranges["augment.min_area"]
    assert isinstance(area, Between) and area.low <= recipe.augmentation.min_area <= area.high
    # What is written is a recipe.
    again = to_yaml(space.with_values({"augment.min_area": 0.4}))
    assert from_yaml(again, Recipe, where="it").augmentation.min_area == 0.4
