"""Differences and tables from answers made by hand."""

import pytest

pytest.importorskip("torchvision")

from suite_table import draw_table, make_rows, overall, paired_difference


def right(flags: str, first: int = 0) -> dict[str, bool]:
    """ "101": the pictures 0 and 2 are right, 1 is not."""
    return {f"{first + i}.png": flag == "1" for i, flag in enumerate(flags)}


def result(name: str, contender: str, flags: str, seed: int = 0) -> dict:
    pictures = {picture: (1, int(is_right)) for picture, is_right in right(flags).items()}
    return {
        "set": name, "contender": contender, "seed": seed, "train": 8, "test": len(flags),
        "kind": "plain" if contender.startswith("plain") else "edgetl",
        "top1": flags.count("1") / len(flags), "seconds": 10.0 + seed, "pictures": pictures,
    }  # fmt: skip


def test_where_each_picture_gains_there_is_no_doubt() -> None:
    assert paired_difference([right("1111")], [right("0000")]) == (100, 100, 100)


def test_pictures_that_both_get_right_or_wrong_cancel() -> None:
    mean_pp, low_pp, high_pp = paired_difference([right("1110" * 50)], [right("1010" * 50)])
    assert mean_pp == 25
    # A quarter of 200 pictures: the binomial's deviation is 3.06 points.
    assert low_pp == pytest.approx(25 - 1.96 * 3.06, abs=1)
    assert high_pp == pytest.approx(25 + 1.96 * 3.06, abs=1)


def test_a_picture_measured_with_two_seeds_is_still_one_picture() -> None:
    mine, other = right("1100" * 10), right("1001" * 10)
    once = paired_difference([mine], [other])
    assert paired_difference([mine, mine], [other, other]) == once
    others = [right("1100" * 10, first=40), right("1001" * 10, first=40)]
    more = paired_difference([mine, others[0]], [other, others[1]])
    assert more.mean_pp == once.mean_pp == 0
    assert more.high_pp - more.low_pp < 0.8 * (once.high_pp - once.low_pp)


def test_answers_to_different_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="same pictures"):
        paired_difference([right("11")], [right("111")])


def test_the_better_plain_loop_is_what_counts_in_each_set() -> None:
    rows = make_rows([
        result("leaves", "plain-12", "1000"), result("leaves", "plain-40", "1100"),
        result("leaves", "ours", "1111"),
        result("rocks", "plain-12", "1110"), result("rocks", "plain-40", "1000"),
        result("rocks", "ours", "1100"),
    ])  # fmt: skip
    differences = [row.cells["ours"].difference for row in rows]
    assert [difference.mean_pp for difference in differences if difference] == [50, -25]
    assert rows[0].cells["plain-40"].difference is None
    assert overall(rows) == {
        "ours": {"sets": 2, "mean_pp": 12.5, "worst_pp": -25, "worst_set": "rocks"}
    }


def test_only_seeds_that_both_have_are_compared() -> None:
    (row,) = make_rows([
        result("leaves", "plain-12", "1000"), result("leaves", "ours", "1100"),
        result("leaves", "ours", "1111", seed=1),
    ])  # fmt: skip
    cell = row.cells["ours"]
    assert (cell.top1, cell.seconds, cell.seeds) == (0.75, 10.5, 2)
    assert cell.difference and cell.difference.mean_pp == 25


def test_without_a_plain_loop_there_are_scores_alone() -> None:
    rows = make_rows([result("leaves", "ours", "1100")])
    assert rows[0].cells["ours"].difference is None
    assert overall(rows) == {}
    assert draw_table(rows, markdown=True).splitlines()[:3] == [
        "| set | train | test | ours |",
        "| --- | ---: | ---: | ---: |",
        "| leaves | 8 | 4 | 50.0 %, 10 s |",
    ]
