"""Which pictures are kept, and why."""

import pytest

from edgetl.collection.choosing import Chooser, Rules, Scene
from edgetl.collection.records import Reason
from tests.collection.making import answer

RULES = Rules(below=0.8, share=0.0, every_s=10.0)


@pytest.mark.parametrize(
    ("probability", "unknown", "reason"),
    [
        (0.99, True, "unknown"),
        (0.3, True, "unknown"),
        (0.79, False, "uncertain"),
        (0.79, None, "uncertain"),
        (0.8, False, None),
        (0.99, None, None),
    ],
)
def test_unknown_and_uncertain_pictures_are_kept(
    probability: float, unknown: bool | None, reason: Reason | None
) -> None:
    chooser = Chooser(RULES, "seed")
    assert chooser.choose(answer(probability=probability, unknown=unknown), None) == reason


def test_a_share_of_all_is_drawn_and_the_seed_decides_which() -> None:
    def drawn(seed: str) -> list[bool]:
        chooser = Chooser(RULES._replace(share=0.1), seed)
        return [chooser.choose(answer(), None) == "random" for _ in range(2000)]

    assert drawn("a") == drawn("a") != drawn("b")
    assert 150 < sum(drawn("a")) < 250


def test_the_draw_does_not_depend_on_what_else_is_kept() -> None:
    certain, mixed = (Chooser(RULES._replace(share=0.5), "a") for _ in range(2))
    alone = [certain.choose(answer(), None) for _ in range(100)]
    among = [mixed.choose(answer(probability=0.9 - 0.2 * (i % 2)), None) for i in range(100)]
    assert among[::2] == alone[::2]
    assert set(among[1::2]) == {"uncertain"}


def test_of_a_scene_one_picture_is_kept_for_each_reason_and_interval() -> None:
    chooser = Chooser(RULES, "a")

    def kept(name: str, at_s: float, unknown: bool = False) -> bool:
        prediction = answer(probability=0.5, unknown=unknown)
        return chooser.choose(prediction, Scene(name, at_s)) is not None

    assert [kept("camera:0", at_s) for at_s in (0, 3, 9.9, 10, 19, 20.5)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip
    assert kept("camera:0", 21, unknown=True)  # another reason
    assert kept("camera:1", 21)  # another camera
    assert kept("camera:0", 1)  # a video that begins anew


def test_a_picture_by_itself_is_kept_however_many_there_are() -> None:
    chooser = Chooser(RULES, "a")
    kept = [chooser.choose(answer(probability=0.5), None) for _ in range(3)]
    assert kept == ["uncertain"] * 3
