from pathlib import Path

import msgspec
import pytest

from edgetl.core.errors import SchemaError
from edgetl.core.schema import to_yaml
from edgetl.core.shipped import shipped_names
from edgetl.data.split import Split
from edgetl.workstation.recipe import (
    DEFAULT_RECIPE,
    PRESETS,
    STILL,
    Augment,
    FineTune,
    Recipe,
    load_recipe,
    override,
    with_epochs,
    with_preset_values,
)
from edgetl.workstation.user_recipe import user_recipe


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


@pytest.mark.parametrize(
    ("pictures", "epochs"),
    [(2, (24, 40)), (10_000, (24, 40)), (16_000, (15, 25)), (50_000, (12, 12))],
)
def test_epochs_are_decided_by_the_device_and_fewer_for_many_pictures(
    pictures: int, epochs: tuple[int, int]
) -> None:
    left_open = override(Recipe(), ["finetune.epochs=auto"])
    on_cpu, on_gpu = (with_epochs(left_open, pictures, gpu=gpu) for gpu in (False, True))
    assert (on_cpu.finetune.total_epochs, on_gpu.finetune.total_epochs) == epochs


def test_epochs_that_a_recipe_gives_are_taken_as_they_are() -> None:
    given = override(Recipe(), ["finetune.epochs=3"])
    assert with_epochs(given, 2, gpu=True) == given


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


@pytest.mark.parametrize("name", ["none", "light", "strong", "robust"])
def test_a_presets_name_stands_for_its_numbers(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"augment: {name}\n")
    assert load_recipe(str(path)).augment == PRESETS[name]
    assert override(Recipe(), [f"augment={name}"]).augment == PRESETS[name]
    assert Recipe(augment=name).augmentation == PRESETS[name]
    assert with_preset_values(Recipe(augment=name)) == Recipe(augment=PRESETS[name])


def test_light_is_what_a_recipe_has_that_does_not_say() -> None:
    assert Recipe().augmentation == PRESETS["light"] == Augment()


def test_none_changes_no_picture() -> None:
    assert PRESETS["none"] == STILL
    assert (STILL.min_area, STILL.stretch, STILL.flip) == (1.0, 1.0, "none")
    others = (
        STILL.brightness, STILL.contrast, STILL.saturation, STILL.rand_augment,
        STILL.mixup, STILL.cutmix, STILL.erase,
    )  # fmt: skip
    assert set(others) == {0}


def test_single_numbers_of_a_preset_can_be_changed() -> None:
    recipe = override(Recipe(augment="light"), ["augment=strong", "augment.mixup=0"])
    assert recipe.augment == Augment(min_area=0.35, rand_augment=9, cutmix=1.0, erase=0.25)
    assert override(Recipe(augment="strong"), ["augment.erase=0"]).augmentation.rand_augment == 9


def test_augmentation_may_be_given_whole() -> None:
    recipe = override(Recipe(), ['augment={"flip":"both","mixup":0.4}'])
    assert recipe.augment == Augment(flip="both", mixup=0.4)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SchemaError, match=r"Invalid enum value 'strng' - at `\$\.augment`"):
        override(Recipe(), ["augment=strng"])


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (["split.folds=1"], "fold 0 of 1: count from 0, and 2 or more folds"),
        (["split.folds=5", "split.fold=5"], "fold 5 of 5: count from 0, and 2 or more folds"),
        (["split.fold=1"], "fold 1 of 0: count from 0, and 2 or more folds"),
        (
            ["finetune.momentum=0.9"],
            "momentum is not a setting of adamw; leave it away",
        ),
        (
            ["finetune.optimizer=adam", "finetune.momentum=0"],
            "momentum is not a setting of adam; leave it away",
        ),
        (
            ["finetune.unfreeze_every=2"],
            "unfreeze_every needs trainable_blocks to begin with, e.g. 0",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    assignments: list[str], reason: str
) -> None:
    section = assignments[0].split(".")[0]
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), assignments)
    assert str(caught.value) == f"recipe with --set: {reason} - at `$.{section}`."


@pytest.mark.parametrize(
    "assignments",
    [
        ["split.folds=5", "split.fold=4"],
        ["split.val=0", "split.test=0"],
        ["finetune.optimizer=sgd", "finetune.momentum=0"],
        ["finetune.optimizer=rmsprop", "finetune.momentum=0.9"],
        ["finetune.unfreeze_every=2", "finetune.trainable_blocks=0"],
    ],
)
def test_settings_that_go_together_are_taken(assignments: list[str]) -> None:
    recipe = override(Recipe(), assignments)
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        section, name = key.split(".")
        taken = getattr(getattr(recipe, section), name)
        assert taken == (value if isinstance(taken, str) else float(value))


def test_contradictions_are_refused_in_code_too() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        Split(folds=1)
    with pytest.raises(ValueError, match="not a setting of adamw"):
        FineTune(momentum=0.5)


def test_a_file_that_contradicts_itself_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("finetune: {optimizer: adam, momentum: 0.9}\n")
    with pytest.raises(SchemaError) as caught:
        load_recipe(str(path))
    assert str(caught.value) == (
        "recipe 'mine.yaml': momentum is not a setting of adam; leave it away - at `$.finetune`."
    )


@pytest.mark.parametrize("name", shipped_names("recipes"))
def test_no_shipped_recipe_has_a_setting_without_effect(name: str) -> None:
    assert user_recipe(name) == load_recipe(name)


@pytest.mark.parametrize(
    ("assignments", "key"),
    [
        (["finetune.patience=3"], "finetune.patience"),
        (["finetune.schedule=cosine", "finetune.drop_factor=0.5"], "finetune.drop_factor"),
        (["finetune.schedule=plateau", "finetune.drop_every=2"], "finetune.drop_every"),
        (["finetune.trainable_blocks=2", "finetune.train_size=0.8"], "finetune.train_size"),
        (["finetune.cached_views=2"], "finetune.cached_views"),
        (["finetune.trainable_blocks=0", "finetune.l2sp=0.1"], "finetune.l2sp"),
        (["probe.enabled=false", "probe.steps=10"], "probe.steps"),
        (["head.activation=relu6"], "head.activation"),
        (["split.folds=5", "split.test=0.3"], "split.test"),
    ],
)
def test_a_setting_without_effect_is_refused_when_it_is_given(
    assignments: list[str], key: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError) as caught:
        user_recipe("edge-default", assignments)
    assert str(caught.value).startswith(f"{key} has no effect here: ")
    assert caught.value.hint.startswith("leave it away, or change what it depends on")


def test_a_recipe_file_with_a_setting_without_effect_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("finetune: {schedule: cosine, patience: 5}\n")
    with pytest.raises(SchemaError, match=r"finetune\.patience has no effect here"):
        user_recipe(str(path))
    assert user_recipe(str(path), ["finetune.schedule=plateau"]).finetune.patience == 5


def test_a_resolved_recipe_of_an_old_run_still_loads(tmp_path: Path) -> None:
    resolved = to_yaml(override(load_recipe("edge-default"), ["finetune.patience=2"]))
    (tmp_path / "recipe.yaml").write_text(resolved)
    path = str(tmp_path / "recipe.yaml")
    assert load_recipe(path).finetune.patience == 2
    assert user_recipe(path) == load_recipe(path)


def test_the_preset_none_leaves_every_augmentation_off() -> None:
    off = {"min_area": 1.0, "stretch": 1.0, "flip": "none"}
    for field in msgspec.structs.fields(Augment):  # whatever is added later has to be off at 0
        assert getattr(STILL, field.name) == off.get(field.name, 0), field.name
    assert PRESETS["none"] is STILL


def test_a_key_without_its_section_is_suggested_with_it() -> None:
    with pytest.raises(SchemaError) as caught:
        override(Recipe(), ["epochs=3"])
    assert caught.value.hint == "did you mean 'finetune.epochs'?"


def test_settings_of_a_teacher_need_one() -> None:
    with pytest.raises(SchemaError, match=r"distil\.temperature has no effect here: there is no"):
        user_recipe("edge-default", ["distil.temperature=4"])
    taught = user_recipe("edge-default", ["distil.temperature=4"], teacher=True)
    assert taught.distil.temperature == 4
    with pytest.raises(SchemaError, match=r"distil\.temperature .*distil\.weight is 0"):
        settings = ["distil.temperature=4", "distil.weight=0", "distil.features=1"]
        user_recipe("edge-default", settings, teacher=True)


def test_a_recipe_of_cached_views_takes_a_teacher_unless_they_are_set_beside_it() -> None:
    assert user_recipe("edge-fast", teacher=True).finetune.cached_views == 4
    with pytest.raises(SchemaError, match=r"finetune\.cached_views has no effect here"):
        user_recipe("edge-fast", ["finetune.cached_views=2"], teacher=True)
