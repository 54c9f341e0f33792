from pathlib import Path

from edgetl.workstation.training.decisions import (
    DECISIONS_FILE,
    Decision,
    Decisions,
    read_decisions,
)
from tests.making import Remarks


def test_decisions_are_printed_and_kept_with_their_reasons(tmp_path: Path) -> None:
    remarks = Remarks()
    decisions = Decisions(tmp_path, remarks)
    decisions.add("epochs", "24", "1,609 training pictures")
    decisions.add("mirror images", "both", "the probe does not mind")
    assert remarks.said == [
        "epochs: 24 (1,609 training pictures)",
        "mirror images: both (the probe does not mind)",
    ]
    assert read_decisions(tmp_path) == [
        Decision(name="epochs", value="24", why="1,609 training pictures"),
        Decision(name="mirror images", value="both", why="the probe does not mind"),
    ]


def test_a_resumed_run_keeps_what_it_decided_before(tmp_path: Path) -> None:
    Decisions(tmp_path, Remarks()).add("mirror images", "both", "the probe does not mind")
    Decisions(tmp_path, Remarks(), resume=True).add("epochs", "24", "12 training pictures")
    assert [made.name for made in read_decisions(tmp_path)] == ["mirror images", "epochs"]
    Decisions(tmp_path, Remarks()).add("epochs", "16", "another run")
    assert [made.value for made in read_decisions(tmp_path)] == ["16"]


def test_without_a_run_folder_decisions_are_only_printed(tmp_path: Path) -> None:
    remarks = Remarks()
    Decisions(None, remarks).add("epochs", "24", "why")
    assert remarks.said == ["epochs: 24 (why)"]
    assert read_decisions(tmp_path) == []
    assert not (tmp_path / DECISIONS_FILE).exists()
