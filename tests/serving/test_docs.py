"""docs/how-to/serve.md: its Python runs, and what it names is there."""

import re
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.serving.running import Server

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "serve.md").read_text()


def test_its_python_makes_an_application(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "model.edgetl").symlink_to(tiny_bundle)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {}
    exec(compile(code, "docs/how-to/serve.md", "exec"), variables)
    app = variables["app"]
    assert [route.path for route in app.routes][:2] == ["/v1/predict", "/v1/model"]  # type: ignore[attr-defined]
    app.state.predictor.close()  # type: ignore[attr-defined]


def test_the_metrics_that_it_names_are_there(server: Server) -> None:
    server.post()
    named = set(re.findall(r"`(edgetl_\w+)`", PAGE))
    text = server.get("/metrics").body.decode()
    exposed = set(re.findall(r"^# TYPE (edgetl_\w+)", text, re.M))
    assert named - exposed == set()
    assert {name for name in exposed if not name.endswith("_created")} == named


def test_the_options_that_it_names_are_there(edgetl: Command) -> None:
    help_page = edgetl("serve", "--help").out
    named = set(re.findall(r"`(--[\w-]+)", PAGE)) - {"--json"}
    assert len(named) > 8
    assert [option for option in named if option not in help_page] == []


def test_the_addresses_that_it_names_are_there(server: Server) -> None:
    named = set(re.findall(r"`(?:GET )?(/[\w./]+)`", PAGE))
    assert {"/healthz", "/v1/model", "/docs"} <= named
    assert {path: server.get(path).status for path in named} == dict.fromkeys(named, 200)
