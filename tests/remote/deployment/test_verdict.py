"""What is made of the answers of a release's check."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgetl.bundle.archive import Bundle
from edgetl.remote.address import Address, RemoteError
from edgetl.remote.connection import Connection
from edgetl.remote.deployment.plan import plan_release
from edgetl.remote.deployment.reports import Checked
from edgetl.remote.deployment.settings import Settings
from edgetl.remote.deployment.verdict import judge
from tests.conftest import Command


def printed(*documents: Any) -> Checked:
    """A check that printed some documents."""
    text = "\n".join(map(json.dumps, documents))
    return Checked(succeeded=True, printed={"stdout": text}, Result="success", ExecMainStatus="0")


def test_a_host_that_does_not_answer_the_picture_is_named(
    edgetl: Command, tiny_bundle: Path, pictures: Path
) -> None:
    plan = plan_release(Bundle(tiny_bundle), Settings(name="cells"), token=None, picture=None)
    host = Connection(Address("pi", "pi"))
    answer = edgetl("run", tiny_bundle, pictures / "stripes" / "01.png", "--json")
    (prediction,) = json.loads(answer.out)
    for wrong in ([], [prediction | {"top": []}], [prediction | {"engine": ""}], [prediction] * 2):
        with pytest.raises(RemoteError, match="'pi' does not answer the picture"):
            judge(printed([], wrong), plan, host)
