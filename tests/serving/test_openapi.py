"""The API's description holds for the answers themselves."""

import json
import re
from typing import Any

import jsonschema
import pytest

from tests.serving.running import FORM, PICTURE, Reply, Server, form


@pytest.fixture(scope="module")
def api(server: Server) -> dict[str, Any]:
    return server.get("/openapi.json").json


def schema(api: dict[str, Any], path: str, method: str, answer: Reply) -> dict[str, Any]:
    """What the description promises for an answer."""
    found = api["paths"][path][method]["responses"][str(answer.status)]["content"]
    return {**found[answer.headers["Content-Type"]]["schema"], "components": api["components"]}


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(api)))
    assert references <= set(api["components"]["schemas"])
    assert {"Prediction", "LabelScore", "Heatmap", "PictureFailure", "Failure"} <= references


def test_its_schemas_are_schemas(api: dict[str, Any]) -> None:
    for record in api["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(record)


def test_every_field_is_described(api: dict[str, Any]) -> None:
    fields = {
        f"{name}.{field}": "description" in schema
        for name, record in api["components"]["schemas"].items()
        for field, schema in record["properties"].items()
        if name != "LabelScore"  # whose summary says it all
    }
    assert [name for name, described in fields.items() if not described] == []


@pytest.mark.parametrize(
    ("body", "kind", "query"),
    [
        (PICTURE, "image/png", ""),
        (PICTURE, "image/png", "?top=1&explain=false"),
        (form(("a.png", PICTURE), ("b.png", b"broken")), FORM, ""),
        (b"broken", "image/png", ""),
        (b"", "image/png", ""),
        (b"broken", "text/plain", ""),
        (PICTURE, "image/png", "?top=0"),
    ],
)  # fmt: skip
def test_answers_are_as_described(api, server: Server, body: bytes, kind: str, query: str) -> None:
    answer = server.post(body, query, content_type=kind)
    jsonschema.validate(answer.json, schema(api, "/v1/predict", "post", answer))


@pytest.mark.parametrize("path", ["/v1/model", "/healthz", "/openapi.json"])
def test_what_can_be_got_is_as_described(api, server: Server, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 200
    jsonschema.validate(answer.json, schema(api, path, "get", answer))
    refused = server.get(path, Host="evil.test")
    jsonschema.validate(refused.json, schema(api, path, "get", refused))


def test_what_is_described_is_what_there_is(api, server: Server) -> None:
    for path, methods in api["paths"].items():
        (method,) = methods
        assert server.request(method.upper(), path, b"", {}).status != 404
    assert server.get("/metrics").headers["Content-Type"].startswith("text/plain")
