"""Whether a release does on a machine what it does on the workstation."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from edgetl.bundle.reports import ParityReport, Prediction
from edgetl.core.errors import DataError, EngineError, GateMissedError
from edgetl.evaluation.parity import TOLERANCE
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import last_line, read_answer
from edgetl.remote.connection import Connection
from edgetl.remote.deployment.plan import Plan
from edgetl.remote.deployment.reports import Checked, Expected
from edgetl.runtime.classifier import Classifier

_ERROR = "Error: "
_UNCHANGED = "nothing was replaced there."


class Verdict(NamedTuple):
    """A release that is right on a machine.

    Attributes:
        prediction: the answer there to the release's picture.
        expected: what the running service must answer.
        compared: with what the answer was compared.
    """

    prediction: Prediction
    expected: Expected
    compared: str


def judge(checked: Checked, plan: Plan, connection: Connection) -> Verdict:
    """Compare what the check of a release printed with the bundle's and the workstation's answers.

    Raises RemoteError if no engine there runs the bundle, and GateMissedError if the golden samples
    or the picture are answered otherwise.
    """
    name = connection.address.name
    documents = list(_documents(checked.printed.get("stdout", "")))
    if not checked.succeeded or len(documents) != 2:
        raise RemoteError(
            f"'{name}' cannot run the bundle as a service: {_why(checked)}", hint=_UNCHANGED
        )
    reports = _read(documents[0], list[ParityReport], connection)
    predictions = _read(documents[1], list[Prediction], connection)
    if len(predictions) != 1 or not predictions[0].top or not predictions[0].engine.split():
        raise RemoteError(f"'{name}' does not answer the picture.", hint=_UNCHANGED)
    prediction = predictions[0]
    engine = prediction.engine.split()[0]
    _require_right(reports, prediction.artifact, engine, name)
    compared = _compare(prediction, plan, name)
    best = prediction.top[0]
    tolerance = TOLERANCE[plan.bundle.artifact(prediction.artifact).scheme]
    expected = Expected(label=best.label, probability=best.probability, tolerance=tolerance)
    return Verdict(prediction, expected, compared)


def _require_right(reports: list[ParityReport], artifact: str, engine: str, name: str) -> None:
    for report in reports:
        if (report.artifact, report.engine) == (artifact, engine):
            if report.status == "right":
                return
            raise GateMissedError(
                f"The golden samples are not right on '{name}': {artifact} through {engine} is "
                f"{report.status}: {report.detail}.",
                hint=f"{_UNCHANGED} Try another artifact or engine: edgetl verify --on {name}",
            )
    raise RemoteError(f"'{name}' did not verify {artifact} through {engine}.", hint=_UNCHANGED)


def _compare(there: Prediction, plan: Plan, name: str) -> str:
    """Compare the answers to the picture; returns what was compared."""
    try:
        classifier = Classifier(plan.bundle, artifact=there.artifact)
    except EngineError as error:
        if plan.own_picture:
            raise DataError(
                f"--picture cannot be answered here: {error}", hint=error.hint or "leave it out."
            ) from error
        return "golden samples"
    here = classifier(plan.picture, top=len(classifier.labels))
    limit = TOLERANCE[classifier.artifact.scheme]
    ours = {score.label: score.probability for score in here.top}
    worst = max(abs(ours.get(score.label, 2.0) - score.probability) for score in there.top)
    if worst > limit:
        raise GateMissedError(
            f"'{name}' answers '{there.top[0].label}' ({there.top[0].probability:.3f}) to a "
            f"picture that is '{here.top[0].label}' ({here.top[0].probability:.3f}) here.",
            hint=_UNCHANGED,
        )
    what = "picture" if plan.own_picture else "golden sample"
    return f"golden samples, and a {what} with {classifier.engine_version} here"


def _documents(text: str) -> Iterator[Any]:
    """The JSON documents of a text, one after another."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        try:
            document, end = decoder.raw_decode(text)
        except ValueError:
            return
        yield document
        text = text[end:].strip()


def _read(document: Any, kind: Any, connection: Connection) -> Any:
    return read_answer(msgspec.json.encode(document), kind, connection.address)


def _why(checked: Checked) -> str:
    said = checked.printed.get("stderr", "")
    errors = [line for line in said.splitlines() if line.startswith(_ERROR)]
    if errors:
        return f"{last_line(errors[-1].removeprefix(_ERROR))}."
    ended = f"{checked.Result}, exit code {checked.ExecMainStatus}"
    return f"{last_line(said)} ({ended})." if said.strip() else f"{ended}."
