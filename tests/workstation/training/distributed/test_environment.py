import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgetl.core.errors import EdgetlError
from edgetl.data.split import Split, make_parts
from edgetl.workstation.training.distributed.agreement import picture_facts
from edgetl.workstation.training.distributed.environment import (
    is_first,
    ranks_named_by,
    require_one,
    require_pictures_for_all,
    require_shareable,
    several,
)
from edgetl.workstation.training.distributed.launching import launch

SECOND = {
    "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host", "MASTER_PORT": "29500",
}  # fmt: skip


def test_the_variables_of_torchrun() -> None:
    facts = ranks_named_by(SECOND)
    assert facts
    assert (facts.rank, facts.count, facts.local_rank, facts.local_count) == (1, 4, 1, 2)
    assert (facts.address, facts.port, facts.hosted) == ("host", 29500, False)
    hosted = ranks_named_by({**SECOND, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert hosted and hosted.hosted
    assert several(SECOND) and not is_first(SECOND)
    assert not several({}) and is_first({})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"MASTER_PORT": None}, "MASTER_PORT is missing"),
        ({"RANK": "one"}, "invalid literal"),
        ({"RANK": "4"}, "contradict"),
    ],
)
def test_impossible_variables_are_named(changed: dict[str, str | None], said: str) -> None:
    variables = {k: v for k, v in {**SECOND, **changed}.items() if v is not None}
    with pytest.raises(EdgetlError, match=said):
        ranks_named_by(variables)


def test_what_several_processes_cannot_do() -> None:
    with pytest.raises(EdgetlError, match="A refit runs in one process only"):
        require_one(SECOND, "A refit")
    with pytest.raises(EdgetlError, match="8 processes cannot share a batch of 6 pictures"):
        require_pictures_for_all(6, 8)
    with pytest.raises(EdgetlError, match="cuda:1 is one device, and there are 2 processes"):
        require_shareable("cuda:1", 2)
    require_shareable("cuda", 2)


def test_the_launcher_returns_the_exit_code_and_names_a_killed_process() -> None:
    assert launch([sys.executable, "-c", ""], 2) == 0
    wanted = "import os, sys; sys.exit(3 if os.environ['RANK'] == '1' else 0)"
    assert launch([sys.executable, "-c", wanted], 2) == 3
    killed = "import os; os.environ['RANK'] == '1' and os.kill(os.getpid(), 9)"
    with pytest.raises(EdgetlError, match=r"Process 1 of 2 was ended by SIGKILL\."):
        launch([sys.executable, "-c", killed], 2)


def test_pictures_are_compared_by_name_size_and_class(pictures: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pictures, copy)

    def facts(folder: Path) -> dict[str, str]:
        return picture_facts(make_parts(folder, Split(), 0), folder)

    assert facts(copy) == facts(pictures)
    with next(copy.glob("*/*")).open("ab") as picture:
        picture.write(b"longer")
    differing = [name for name, fact in facts(copy).items() if fact != facts(pictures)[name]]
    assert len(differing) == 1 and differing[0].startswith("the pictures of the ")
