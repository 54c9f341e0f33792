"""`edgetl bench`, `verify`, `run` and `tune` on another machine: what is sent, what comes back."""

import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from edgetl.benchmarking.reports import BenchReport
from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import ParityReport, Prediction
from edgetl.core.errors import DataError, EdgetlError, GateMissedError
from edgetl.core.progress import Progress
from edgetl.remote.address import RemoteError
from edgetl.remote.answers import last_line, read_answer
from edgetl.remote.connection import Connection
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
# An exit code above this stands for the signal that ended the command.
_SIGNALS = 128


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

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.connection.address.name

    def say(self, text: str) -> None:
        """Show what is being done there."""
        self.progress.say(f"{self.name}: {text}")


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
    report, _ = _ran(session, bundle, sent, command, BenchReport, engine, cool_down_s)
    if report.bundle_digest != bundle.digest:
        raise RemoteError(f"'{session.name}' measured another bundle than it was sent.")
    return msgspec.structs.replace(report, bundle=str(bundle.path))


def verify_there(session: Session, bundle: Bundle) -> list[ParityReport]:
    """Run a bundle's golden samples through the engines of another machine. Raises RemoteError."""
    return _ran(session, bundle, (), ["verify", _BUNDLE, "--json"], list[ParityReport])[0]


def tune_there(session: Session, bundle: Bundle) -> list[Tuned]:
    """Find the fastest way to run a bundle on another machine, which keeps it for `run`.

    Returns all results, fastest first. Raises RemoteError.
    """
    timings, _ = _ran(session, bundle, (), ["tune", _BUNDLE, "--json"], list[Tuned])
    if not timings:
        raise RemoteError(f"'{session.name}' answered without a result.")
    return timings


def run_there(
    session: Session,
    bundle: Bundle,
    pictures: Sequence[SentPicture],
    arguments: Sequence[str],
    *,
    engine: str,
) -> list[Prediction | DataError]:
    """Classify pictures on another machine.

    Args:
        session: the machine.
        bundle: the bundle.
        pictures: at least one.
        arguments: options of `edgetl run`, for that machine.
        engine: the engine that they name; "auto": any.

    Returns for each picture, in their order, the prediction under its name here, or the error of a
    picture that cannot be read. Raises RemoteError if the machine cannot do it.
    """
    command = ["run", _BUNDLE, _PICTURES, *arguments, "--json"]
    answered, errors = _ran(session, bundle, pictures, command, list[Prediction], engine)
    found = {prediction.source: prediction for prediction in answered}
    machine = session.name
    answers: list[Prediction | DataError] = []
    for i, picture in enumerate(pictures):
        prediction = found.pop(_numbered(i, picture.name), None)
        if prediction:
            answers.append(msgspec.structs.replace(prediction, source=picture.name))
        else:
            named = (error for error in errors if f"'{picture.name}'" in error)
            answers.append(DataError(next(named, f"'{picture.name}' was not read on '{machine}'.")))
    if found:
        raise RemoteError(f"'{machine}' answered for pictures that it was not sent.")
    return answers


def _ran(
    session: Session,
    bundle: Bundle,
    pictures: Sequence[SentPicture],
    command: Sequence[str],
    kind: type[T],
    engine: str = "auto",
    cool_down_s: float = 0.0,
) -> tuple[T, list[str]]:
    """Run a command of edgetl on another machine.

    Returns the document that it prints, and its errors. Raises RemoteError if there is none.
    """
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
            session.say(line)

    job = Job([*wait, [*python, "edgetl", *command]], files)
    finished = run_job(connection, environment.facts, job, show, stop)
    here = {_BUNDLE: str(bundle.path), **{name: picture.name for name, picture in sent.items()}}
    said = _SENT_NAME.sub(lambda found: here.get(found[0], found[0]), finished.stderr)
    if finished.code > _SIGNALS or not finished.stdout:
        raise _error_there(finished.code, said, session.name)
    return read_answer(finished.stdout, kind, connection.address), _marked(said, _ERROR)


def _numbered(index: int, name: str) -> str:
    """The name under which a picture is sent: its own may be anything, and the order stays."""
    suffix = Path(name).suffix.lower()
    return f"{_PICTURES}/{index:06}{suffix if suffix in PICTURE_SUFFIXES else '.jpg'}"


def _marked(said: str, mark: str) -> list[str]:
    return [line.removeprefix(mark) for line in said.splitlines() if line.startswith(mark)]


def _error_there(code: int, said: str, machine: str) -> EdgetlError:
    """The error that a command on another machine ended with.

    Args:
        code: its exit code.
        said: what it printed to standard error.
        machine: the machine's name.
    """
    if code > _SIGNALS:
        return RemoteError(
            f"edgetl was ended on '{machine}' ({_signal_name(code - _SIGNALS)}).",
            hint="if its memory was used up (dmesg there says so), try a smaller engine, or one "
            "artifact at a time with --artifact.",
        )
    errors, hints = _marked(said, _ERROR), _marked(said, _HINT)
    kind = GateMissedError if code == GateMissedError.exit_code else RemoteError
    message = errors[-1] if errors else f"{last_line(said)}."
    return kind(f"on '{machine}': {message}", hint=hints[-1] if errors and hints else "")


def _signal_name(number: int) -> str:
    known = {int(one): one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")
