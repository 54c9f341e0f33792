from pathlib import Path

import pytest

from edgetl.core.errors import SchemaError
from edgetl.core.recipe import DEFAULT_RECIPE, Recipe, load_recipe, override
from edgetl.core.shipped import shipped_names


@pytest.mark.parametrize("name", shipped_names("recipes"))
def test_every_shipped_recipe_loads_and_says_what_it_does(name: str) -> None:
    assert load_recipe(name).description


def test_the_default_recipe_is_shipped() -> None:
    assert DEFAULT_RECIPE in shipped_names("recipes")


def test_a_misspelt_recipe_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(SchemaError) as caught:
        load_recipe("edge-defualt")
    assert str(caught.value) == "There is no recipe 'edge-defualt'."
    names = ", ".join(shipped_names("recipes"))
    assert caught.value.hint == f"did you mean 'edge-default'? The choices are: {names}."


def test_a_recipe_file_fills_in_every_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("backbone: resnet18\nfinetune:\n  epochs: 3\n")
    recipe = load_recipe(str(path))
    assert recipe.backbone == "resnet18"
    assert recipe.finetune.epochs == 3
    assert recipe.finetune.batch == Recipe().finetune.batch
    assert recipe.augment == Recipe().augment


def test_a_missing_recipe_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"none\.yaml' cannot be read: No such file"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_assignments_reach_nested_keys_with_their_own_types() -> None:
    recipe = override(
        Recipe(),
        ["finetune.batch=64", "probe.enabled=false", "split.val=0.25", "weights=none",
         "finetune.trainable_blocks=4", "image_size_px=null", "augment.flip=both"],
    )  # fmt: skip
    assert recipe.finetune.batch == 64
    assert recipe.probe.enabled is False
    assert recipe.split.val == 0.25
    assert recipe.weights == "none"
    assert recipe.finetune.trainable_blocks == 4
    assert recipe.image_size_px is None
    assert recipe.augment.flip == "both"


def test_later_assignments_win() -> None:
    assert override(Recipe(), ["seed=1", "seed=2"]).seed == 2


def test_an_assignment_may_hold_an_equals_sign() -> None:
    assert override(Recipe(), ["description=a=b"]).description == "a=b"


def test_no_assignments_change_nothing() -> None:
    assert override(Recipe(), []) == Recipe()


@pytest.mark.parametrize("assignment", ["finetune.batch", "=3", ""])
def test_an_assignment_without_key_or_value_shows_the_form(assignment: str) -> None:
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), [assignment])
    assert str(caught.value) == f"--set '{assignment}' is not KEY=VALUE."
    assert caught.value.hint == "e.g. --set finetune.batch=64"


def test_a_misspelt_key_in_an_assignment_suggests_the_nearest() -> None:
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), ["finetune.epoch=3"])
    assert "unknown field `epoch` - at `$.finetune`" in str(caught.value)
    assert caught.value.hint.startswith("did you mean 'epochs'?")


def test_a_misspelt_section_in_an_assignment_suggests_the_nearest() -> None:
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), ["finetun.epochs=3"])
    assert caught.value.hint.startswith("did you mean 'finetune'?")


def test_a_key_inside_a_plain_value_is_refused() -> None:
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), ["seed.more=3"])
    assert str(caught.value) == "--set seed.more: 'seed' has no keys inside it."


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"Expected `int` >= 2 - at `\$\.finetune\.batch`"):
        override(Recipe(), ["finetune.batch=1"])


def test_a_rate_may_be_written_with_an_exponent_and_no_point(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("finetune: {head_rate: 1e-3, backbone_rate: 5E-4}\ndescription: 1e-3x\n")

    recipe = load_recipe(str(path))

    assert (recipe.finetune.head_rate, recipe.finetune.backbone_rate) == (1e-3, 5e-4)
    assert recipe.description == "1e-3x"
