from pathlib import Path

import msgspec
import pytest

from edgetl.core.errors import SchemaError
from edgetl.core.schema import (
    MAX_DOCUMENT_BYTES,
    Frozen,
    from_json,
    from_yaml,
    nearest,
    read_document,
    to_json,
    to_yaml,
    unknown_choice_hint,
)
from edgetl.workstation.recipe import FineTune, Recipe

FINETUNE_KEYS = ", ".join(sorted(FineTune.__struct_fields__))


class Wheel(Frozen, kw_only=True):
    spokes: int


class Bicycle(Frozen, kw_only=True):
    wheels: tuple[Wheel, ...] = ()
    by_name: dict[str, Wheel] = {}


def test_an_unknown_key_at_the_top_names_the_nearest_one() -> None:
    with pytest.raises(SchemaError) as caught:
        from_yaml("backbon: resnet18", Recipe, where="recipe 'r.yaml'")
    assert str(caught.value) == "recipe 'r.yaml': Object contains unknown field `backbon`."
    assert caught.value.hint.startswith("did you mean 'backbone'? The choices are: adapt, ")


def test_an_unknown_nested_key_names_the_nearest_one_at_its_own_level() -> None:
    with pytest.raises(SchemaError) as caught:
        from_yaml("finetune: {epoch: 3}", Recipe, where="recipe 'r.yaml'")
    assert str(caught.value) == (
        "recipe 'r.yaml': Object contains unknown field `epoch` - at `$.finetune`."
    )
    assert caught.value.hint == f"did you mean 'epochs'? The choices are: {FINETUNE_KEYS}."


@pytest.mark.parametrize(
    "text",
    ['{"wheels": [{"spokes": 3}, {"spoke": 3}]}', '{"by_name": {"front": {"spoke": 3}}}'],
    ids=["in a list", "in a dict"],
)
def test_suggestions_look_through_containers(text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        from_json(text, Bicycle, where="it")
    assert caught.value.hint == "did you mean 'spokes'? The choices are: spokes."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: one", "it: Expected `int`, got `str` - at `$.seed`."),
        ("seed: -1", "it: Expected `int` >= 0 - at `$.seed`."),
        ("split: {val: 1.0}", "it: Expected `float` < 1.0 - at `$.split.val`."),
        ("image_size_px: 8", "it: Expected `int` >= 16 - at `$.image_size_px`."),
        ("precision: fp8", "it: Invalid enum value 'fp8' - at `$.precision`."),
        ("", "it: Expected `object`, got `null`."),
        ("- a list", "it: Expected `object`, got `array`."),
    ],
)
def test_a_value_of_the_wrong_kind_or_range_says_where(text: str, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        from_yaml(text, Recipe, where="it")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["seed: [1", "seed: 2020-99-99", "[" * 5000, b"\xff\xfe\xff", "a: &a [*b]", "{[1]: 2}"]
)
def test_malformed_yaml_is_an_error_the_user_can_act_on(text: str) -> None:
    with pytest.raises(SchemaError, match="it"):
        from_yaml(text, Recipe, where="it")


@pytest.mark.parametrize("text", ["{", b'{"seed": "\xff"}', "[" * 100_000, "nan"])
def test_malformed_json_is_an_error_the_user_can_act_on(text: str) -> None:
    with pytest.raises(SchemaError, match="it"):
        from_json(text, Recipe, where="it")


def test_yaml_tags_are_refused_and_run_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(SchemaError, match="not well formed"):
        from_yaml(f"description: !!python/object/apply:os.mkdir ['{witness}']", Recipe, where="it")
    assert not witness.exists()


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Wheel(spokes=3).spokes = 4  # type: ignore[misc]


def test_records_take_no_positional_arguments() -> None:
    with pytest.raises(TypeError):
        Wheel(3)  # type: ignore[misc]


@pytest.mark.parametrize("write_read", [(to_yaml, from_yaml), (to_json, from_json)])
def test_a_record_survives_being_written_and_read(write_read) -> None:
    write, read = write_read
    recipe = Recipe(description="Grüße: 'quoted'", seed=3, weights="none")
    assert read(write(recipe), Recipe, where="it") == recipe


def test_a_very_small_rate_survives_yaml() -> None:
    recipe = msgspec.structs.replace(
        Recipe(), finetune=msgspec.structs.replace(Recipe().finetune, head_rate=1e-7)
    )
    assert from_yaml(to_yaml(recipe), Recipe, where="it") == recipe


def test_a_missing_document_says_so(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        read_document(tmp_path / "none.yaml")
    expected = f"'{tmp_path / 'none.yaml'}' cannot be read: No such file or directory."
    assert str(caught.value) == expected


def test_a_document_too_large_to_be_honest_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(SchemaError, match=r"is larger than 16 MB\."):
        read_document(path)


def test_a_word_like_nothing_known_gets_no_guess() -> None:
    assert nearest("zzz", ["onnx", "tflite"]) is None
    assert unknown_choice_hint("zzz", ["tflite", "onnx"]) == "The choices are: onnx, tflite."
