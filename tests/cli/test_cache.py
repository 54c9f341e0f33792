"""`edgetl cache list` and `edgetl cache prune`."""

import json
import time
from pathlib import Path

import pytest

from edgetl.core.caches import cached_items
from tests.core.test_caches import keep


@pytest.fixture
def filled(cache: Path) -> Path:
    keep(cache / "pixels" / "aa" / "rows", 3_000_000, days_ago=40)
    keep(cache / "exports" / "bb" / "plan", 1_000_000)
    (cache / "mine.txt").write_text("mine")
    return cache


def left(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file()}


def test_list_has_a_line_for_each_part_and_a_sum(edgetl, filled: Path) -> None:
    answer = edgetl("cache", "list", "--wide")
    assert (answer.code, answer.err) == (0, "")
    lines = {line.split("  ")[0]: line.split() for line in answer.out.splitlines()}
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 40 * 24 * 3600))
    assert lines["pixels"][1:4] == ["1", "3.0", day]
    assert lines["weights"][1:4] == ["0", "0.0", "-"]
    assert lines["in all"][2:4] == ["2", "4.0"]
    assert answer.out.splitlines()[0] == str(filled)
    assert answer.out.splitlines()[-1] == "not edgetl's, so never deleted: mine.txt"


def test_list_is_one_document(edgetl, filled: Path) -> None:
    document = json.loads(edgetl("cache", "list", "--json").out)
    assert document["folder"] == str(filled)
    assert [(item["part"], item["bytes"]) for item in document["items"]] == [
        ("pixels", 3_000_000), ("exports", 1_000_000),
    ]  # fmt: skip


def test_prune_deletes_the_parts_that_are_named(edgetl, filled: Path) -> None:
    answer = edgetl("cache", "prune", "exports")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == "deleted 1 item, 1.0 MB"
    assert left(filled) == {"rows", "mine.txt"}


@pytest.mark.parametrize("limit", [("--older-than", 30), ("--max-size", 0.0015)], ids=str)
def test_prune_deletes_what_a_limit_chooses(edgetl, filled: Path, limit) -> None:
    dry = edgetl("cache", "prune", *limit, "--dry-run")
    assert dry.out.splitlines()[-1] == "would delete 1 item, 3.0 MB"
    assert left(filled) == {"rows", "plan", "mine.txt"}
    document = json.loads(edgetl("cache", "prune", *limit, "--json").out)
    (item,) = document["items"]
    assert (document["dry_run"], item["part"], item["outcome"]) == (False, "pixels", "deleted")
    assert left(filled) == {"plan", "mine.txt"}


def test_prune_without_a_part_or_a_limit_is_wrong_usage(edgetl, filled: Path) -> None:
    answer = edgetl("cache", "prune")
    assert (answer.code, answer.out) == (2, "")
    assert edgetl("cache", "prune", "photos").code == 2
    assert left(filled) == {"rows", "plan", "mine.txt"}


def test_a_training_run_decodes_again_after_prune(edgetl, cache, data, tmp_path) -> None:
    options = ("--weights", "none", "--image-size", 32, "--epochs", 1, "--set", "probe.steps=5")
    for run in ("first", "second"):
        answer = edgetl("finetune", data, "-o", tmp_path / run, *options)
        assert answer.code == 0, answer.err
        pruned = json.loads(edgetl("cache", "prune", "pixels", "--json").out)
        assert {item["outcome"] for item in pruned["items"]} == {"deleted"}
        assert cached_items(["pixels"]) == []
