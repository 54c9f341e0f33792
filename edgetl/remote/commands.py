"""`edgetl bench`, `verify`, `run` and `tune` on another machine: what is sent, what comes back."""

import re
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from edgetl.benchmarking.reports import BenchReport
from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import ParityReport, Prediction
from edgetl.core.errors import EdgetlError, GateMissedError
from edgetl.core.progress import Progress
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import last_line, read_answer
from edgetl.remote.connection import Connection, Finished
from edgetl.remote.content import Content
from edgetl.remote.environment import Wanted, set_up
from edgetl.remote.jobs import Job, run_job
from edgetl.runtime.sources import PICTURE_SUFFIXES
from edgetl.runtime.tuned import Tuned

T = TypeVar("T")

_BUNDLE, _PICTURES = "model.edgetl", "pictures"
_SENT_NAME = re.compile(rf"{_PICTURES}/\d{{6}}\.[a-z]+|{re.escape(_BUNDLE)}")
_ANY_ENGINE = ("auto", "all")
_ERROR, _HINT = "Error: ", "Hint: "


class SentPicture(NamedTuple):
    """A picture to send: its name here, and its bytes or its file."""

    name: str
    content: Content


class Session(NamedTuple):
    """A connection that commands use, and how they report.

    Attributes:
        connection: to the machine.
        progress: where progress is shown.
        stop: ends the command if another thread sets it.
    """

    connection: Connection
    progress: Progress
    stop: threading.Event | None = None


def bench_there(
    session: Session,
    bundle: Bundle,
    pictures: Sequence[Path],
    arguments: Sequence[str],
    *,
    engine: str,
    cool_down_s: float,
) -> BenchReport:
    """Benchmark a bundle on another machine.

    Args:
        session: the machine.
        bundle: the bundle.
        pictures: picture files; empty: only inference is timed.
        arguments: options of `edgetl bench`, for that machine.
        engine: the engine that they name; "auto" or "all": any.
        cool_down_s: how long to wait at most until the machine is idle and cool.

    Raises RemoteError if the machine cannot do it.
    """
    sent = [SentPicture(str(path), path) for path in pictures]
    command = ["bench", _BUNDLE, *([_PICTURES] if sent else []), *arguments, "--json", "-"]
    report = _answer(session, bundle, sent, command, BenchReport, engine, cool_down_s)
    if report.bundle_digest != bundle.digest:
        raise RemoteError(
            f"'{session.connection.address.name}' measured another bundle than it was sent."
        )
    return msgspec.structs.replace(report, bundle=str(bundle.path))


def verify_there(session: Session, bundle: Bundle) -> list[ParityReport]:
    """Run a bundle's golden samples through the engines of another machine. Raises RemoteError."""
    return _answer(session, bundle, (), ["verify", _BUNDLE, "--json"], list[ParityReport])


def tune_there(session: Session, bundle: Bundle) -> list[Tuned]:
    """Find the fastest way to run a bundle on another machine, which keeps it for `run`.

    Returns all results, fastest first. Raises RemoteError.
    """
    return _answer(session, bundle, (), ["tune", _BUNDLE, "--json"], list[Tuned])


def run_there(
    session: Session,
    bundle: Bundle,
    pictures: Sequence[SentPicture],
    arguments: Sequence[str],
    *,
    engine: str,
) -> list[Prediction]:
    """Classify pictures on another machine.

    Args:
        session: the machine.
        bundle: the bundle.
        pictures: at least one.
        arguments: options of `edgetl run`, for that machine.
        engine: the engine that they name; "auto": any.

    Returns the predictions in the order of the pictures, under their names here. Raises
    RemoteError.
    """
    command = ["run", _BUNDLE, _PICTURES, *arguments, "--json"]
    predictions = _answer(session, bundle, pictures, command, list[Prediction], engine)
    if len(predictions) != len(pictures):
        raise RemoteError(
            f"'{session.connection.address.name}' answered for {len(predictions)} of "
            f"{len(pictures)} pictures."
        )
    return [
        msgspec.structs.replace(prediction, source=picture.name)
        for prediction, picture in zip(predictions, pictures, strict=True)
    ]


def _answer(
    session: Session,
    bundle: Bundle,
    pictures: Sequence[SentPicture],
    command: Sequence[str],
    kind: type[T],
    engine: str = "auto",
    cool_down_s: float = 0.0,
) -> T:
    """Run a command of edgetl on another machine; returns the document that it prints."""
    formats = {artifact.format for artifact in bundle.manifest.artifacts}
    engines = () if engine in _ANY_ENGINE else (engine,)
    connection, progress, stop = session
    environment = set_up(connection, Wanted(engines, formats), progress, stop)
    sent = {_numbered(i, picture.name): picture for i, picture in enumerate(pictures)}
    files = {_BUNDLE: bundle.path, **{name: picture.content for name, picture in sent.items()}}
    python = [environment.python, "-m"]
    wait = [[*python, "edgetl.remote.cool_down", str(cool_down_s)]] if cool_down_s else []

    def show(line: str) -> None:
        if not line.startswith((_ERROR, _HINT)):
            progress.say(f"{connection.address.name}: {line}")

    job = Job([*wait, [*python, "edgetl", *command]], files)
    finished = run_job(connection, environment.facts, job, show, stop)
    if finished.code > 128 or not finished.stdout:
        here = {_BUNDLE: str(bundle.path), **{name: picture.name for name, picture in sent.items()}}
        raise _error_there(finished, connection.address.name, here)
    return read_answer(finished.stdout, kind, connection.address)


def _numbered(index: int, name: str) -> str:
    """The name under which a picture is sent: its own may be anything, and the order stays."""
    suffix = Path(name).suffix.lower()
    return f"{_PICTURES}/{index:06}{suffix if suffix in PICTURE_SUFFIXES else '.jpg'}"


def _error_there(finished: Finished, machine: str, names: Mapping[str, str]) -> EdgetlError:
    """The error that a command on another machine ended with.

    Args:
        finished: what it printed.
        machine: the machine's name.
        names: what files are called here, by their names there.
    """
    if finished.code > 128:
        name = signal.Signals(finished.code - 128).name
        return RemoteError(
            f"edgetl was ended on '{machine}' ({name}).",
            hint="most likely its memory was used up: free -h there; a smaller engine, or "
            "one artifact at a time with --artifact.",
        )
    lines = _SENT_NAME.sub(lambda found: names.get(found[0], found[0]), finished.stderr)
    errors = [line for line in lines.splitlines() if line.startswith(_ERROR)]
    hints = [line for line in lines.splitlines() if line.startswith(_HINT)]
    message = errors[-1].removeprefix(_ERROR) if errors else f"{last_line(lines)}."
    kind = GateMissedError if finished.code == GateMissedError.exit_code else RemoteError
    hint = hints[-1].removeprefix(_HINT) if errors and hints else ""
    return kind(f"on '{machine}': {message}", hint=hint)
