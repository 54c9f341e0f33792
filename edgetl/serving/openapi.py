"""The description of the API (OpenAPI 3.1), made of the records that are answered."""

import inspect
import re
from typing import Any

import msgspec

from edgetl.bundle.reports import Prediction
from edgetl.serving.answers import Health, Model, PictureFailure, edgetl_version
from edgetl.serving.bodies import MULTIPART, RAW
from edgetl.serving.limits import Limits
from edgetl.serving.parameters import DEFAULT_TOP, MAX_TOP
from edgetl.serving.refusals import RETRY_AFTER_S, Failure

_RECORDS = (Prediction, PictureFailure, Failure, Health, Model)
_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_ERRORS = {
    400: "A parameter or the body is wrong; the error names it.",
    401: "The token is missing or wrong.",
    403: "The Host or Origin header is not this server's.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or the form has too many pictures.",
    415: "The Content-Type is neither a picture nor a form.",
    422: "The body cannot be read as a picture.",
    500: "The engine failed.",
    503: f"There is no room for the request; try again, after {RETRY_AFTER_S} s at the earliest.",
}
_PICTURE = {"type": "string", "contentMediaType": RAW[1]}

Json = dict[str, Any]

# The server may have been started without a token.
_WITH_TOKEN: Json = {"security": [{"token": []}, {}]}


def describe_api(limits: Limits) -> Json:
    """The OpenAPI document of a server with these limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgetl serve",
            "version": edgetl_version(),
            "description": "Classifies pictures with a bundle.",
        },
        "servers": [{"url": ".", "description": "where this document is"}],
        "paths": {
            "/v1/predict": {"post": _predict(limits)},
            "/v1/model": {"get": _get("What is served", _schema(Model), 401) | _WITH_TOKEN},
            "/healthz": {"get": _get("Whether pictures are answered", _schema(Health), 503)},
            "/metrics": {"get": _get("Metrics for Prometheus", None, 401) | _WITH_TOKEN},
            "/openapi.json": {"get": _get("This document", {"type": "object"}, 401) | _WITH_TOKEN},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict(limits: Limits) -> Json:
    entry = {"oneOf": [_schema(Prediction), _schema(PictureFailure)]}
    answer = {"oneOf": [_schema(Prediction), {"type": "array", "items": entry}]}
    files = {"type": "array", "items": _PICTURE, "minItems": 1, "maxItems": limits.files}
    form = {"type": "object", "properties": {"file": files}, "required": ["file"]}
    top = {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP}
    explain = {"type": "boolean", "default": False}
    return {
        "summary": "Classify pictures",
        "description": f"The body, of at most {limits.body_bytes / 1e6:g} MB, is a picture or a "
        f"form with up to {limits.files} pictures. A picture is answered with a prediction. A form "
        "is answered with a list in the order of its files: a prediction for each, or an error in "
        "the place of a picture that cannot be read.",
        "parameters": [
            _parameter("top", top, "How many classes to report."),
            _parameter("explain", explain, "Whether to add a heatmap, if the bundle can."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                **{kind: {"schema": _PICTURE} for kind in RAW},
                MULTIPART: {"schema": form},
            },
        },
        "responses": _responses("The answer", answer, *_ERRORS),
        **_WITH_TOKEN,
    }


def _parameter(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _get(summary: str, schema: Json | None, *errors: int) -> Json:
    return {"summary": summary, "responses": _responses(summary, schema, *errors, 403)}


def _responses(description: str, schema: Json | None, *errors: int) -> Json:
    """The answer, as JSON of a schema or else as text, and errors."""
    content = {_JSON: {"schema": schema}} if schema else {"text/plain": {}}
    failure = {_JSON: {"schema": _schema(Failure)}}
    return {
        "200": {"description": description, "content": content},
        **{str(code): {"description": _ERRORS[code], "content": failure} for code in errors},
    }


def _schema(record: type) -> Json:
    return {"$ref": _REF.format(name=record.__name__)}


def _schemas() -> Json:
    """The records' schemas, with what their docstrings say about each attribute."""
    _, schemas = msgspec.json.schema_components(_RECORDS, ref_template=_REF)
    for schema in schemas.values():
        summary, _, attributes = inspect.cleandoc(schema["description"]).partition("\nAttributes:")
        schema["description"] = summary.strip()
        for names, text in re.findall(r"^ {4}(\w[\w, ]*): ((?:.|\n {8})*)", attributes, re.M):
            for name in names.split(", "):
                in_json = re.sub(r"\bNone\b", "null", " ".join(text.split()))
                schema["properties"][name]["description"] = in_json
    return schemas
