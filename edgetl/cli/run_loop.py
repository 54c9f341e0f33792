"""The loop of `edgetl run`: feeds are classified, answers printed, broken pictures counted."""

import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from itertools import tee
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

from edgetl.bundle.reports import Prediction
from edgetl.capture.feeds import Feed, Rhythm
from edgetl.cli.messages import print_error
from edgetl.cli.progress import make_progress
from edgetl.cli.run_output import JsonDocument, Output, labelled
from edgetl.core.errors import DataError
from edgetl.core.progress import Progress, Silent
from edgetl.runtime.heatmap import HeatmapFolder
from edgetl.runtime.sources import Source

if TYPE_CHECKING:
    from edgetl.remote.classifier import RemoteClassifier
    from edgetl.runtime.classifier import Classifier

# A camera with a bad connection gives many broken frames a second: one in this time is reported.
_REPORT_FRAMES_EVERY_S = 10.0
_ENDING = (signal.SIGINT, signal.SIGTERM)

Answers = Generator[tuple[Source, Prediction | DataError], None, None]


class Wanted(NamedTuple):
    """What each prediction is to hold: the arguments of `Classifier.stream`."""

    top: int
    explain: bool
    unknown: bool


class RunLoop:
    """Classifies feeds and prints what comes out.

    Args:
        classifier: the bundle's network, here or on another machine.
        output: prints the predictions.
        wanted: what each prediction is to hold.
        drawer: draws heatmaps; None: none are wanted.
        collect: is given every picture that was answered; None: nobody is.
        max_answers: the number of answers to end after; None: the feeds' end.
    """

    def __init__(
        self,
        classifier: "Classifier | RemoteClassifier",
        output: Output,
        wanted: Wanted,
        *,
        drawer: HeatmapFolder | None = None,
        collect: Callable[[Source, Prediction], None] | None = None,
        max_answers: int | None = None,
    ) -> None:
        self._classifier, self._output, self._wanted = classifier, output, wanted
        self._drawer, self._collect, self._max_answers = drawer, collect, max_answers
        self._answered = self._broken = 0
        self._interrupted = False
        self._ready: Callable[[], None] | None = None
        self._frame_reports = Rhythm(_REPORT_FRAMES_EVERY_S)

    def run(self, feeds: Sequence[Feed], ready: Callable[[], None] | None = None) -> None:
        """Classify the feeds, one after another; a broken picture does not keep the others.

        `ready` is called once: at the start, or with cameras and streams at their first answer.

        Ctrl-C or SIGTERM during an endless feed ends it as if it had an end. Raises DataError at
        the end if pictures could not be read, except after such an interruption.
        """
        self._ready = ready
        if not any(feed.live for feed in feeds):
            self._report_ready()
        for feed in feeds:
            self._run_feed(feed)
            if self._ended:
                break
        self._output.end()
        if self._broken and not self._interrupted:
            total = self._answered + self._broken
            if total == 1:  # its error is printed already
                sys.exit(DataError.exit_code)
            raise DataError(f"{self._broken} of {total} pictures could not be read.")

    @property
    def _ended(self) -> bool:
        return self._interrupted or self._answered == self._max_answers

    def _run_feed(self, feed: Feed) -> None:
        stage = self._progress(feed).stage("classifying", feed.count or 0, "pictures")
        with _interrupted_once(feed), closing(self._answers(feed)) as answers, stage as shown:
            try:
                for source, answer in answers:
                    self._take(source, answer)
                    if feed.live:
                        self._report_ready()
                    shown.advance()
                    if self._ended:
                        break
            except DataError as error:  # the feed itself cannot be read
                self._note(error)
            except KeyboardInterrupt:
                if not feed.endless:
                    raise
                self._interrupted = True
        if feed.endless:
            make_progress().say(self._summary(feed))

    def _report_ready(self) -> None:
        if self._ready:
            self._ready()
        self._ready = None

    def _answers(self, feed: Feed) -> Answers:
        return self._read_ahead(feed) if feed.ahead else self._one_by_one(feed)

    def _read_ahead(self, feed: Feed) -> Answers:
        with closing(iter(feed)) as sources:
            ours, theirs = tee(sources)
            with closing(self._classifier.stream(theirs, **self._arguments())) as answers:
                yield from zip(ours, answers, strict=True)

    def _one_by_one(self, feed: Feed) -> Answers:
        arguments = self._arguments()
        with closing(iter(feed)) as sources:
            for source in sources:
                answer: Prediction | DataError
                try:
                    answer = self._classifier(source.picture, source=source.name, **arguments)
                except DataError as error:
                    answer = error
                yield source, answer

    def _arguments(self) -> dict[str, Any]:
        """The classifier's arguments; what is collected is judged wherever the bundle can."""
        judged = self._collect is not None and self._classifier.has_unknown_rule
        return {**self._wanted._asdict(), "unknown": self._wanted.unknown or judged}

    def _take(self, source: Source, answer: Prediction | DataError) -> None:
        """Draw and print an answer, or count and report a broken picture."""
        try:
            if isinstance(answer, DataError):
                raise answer
            if self._drawer:
                self._drawer.add(source, answer)
        except DataError as error:
            self._note(_naming(source, error), of_camera=source.time is not None)
            return
        self._answered += 1
        time = source.time or datetime.now(timezone.utc)
        shown = answer if self._wanted.unknown else labelled(answer)
        self._output.add(structs.replace(shown, source=_printable(shown.source)), time)
        if self._collect:
            self._collect(source, answer)

    def _note(self, error: DataError, *, of_camera: bool = False) -> None:
        self._broken += 1
        if of_camera:
            if self._frame_reports.wait_s():
                return
            self._frame_reports.advance()
        print_error(error, hint=self._broken == 1)

    def _summary(self, feed: Feed) -> str:
        counts = [f"answers: {self._answered}"]
        if feed.dropped is not None:
            counts.append(f"frames dropped: {feed.dropped}")
        if self._broken:
            counts.append(f"could not be read: {self._broken}")
        return ", ".join(counts)

    def _progress(self, feed: Feed) -> Progress:
        """Shows progress only where the terminal does not show the predictions themselves."""
        shown = sys.stdout.isatty() and not isinstance(self._output, JsonDocument)
        return Silent() if shown or feed.count in (None, 1) else make_progress()


@contextmanager
def _interrupted_once(feed: Feed) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise KeyboardInterrupt while a feed is endless, and only once.

    Ctrl-C reaches this process twice: from the terminal, and from the parent process
    (`edgetl.cli.process`). The second one must not disturb the release of the camera.
    """
    before = {number: signal.getsignal(number) for number in _ENDING}

    def interrupt(number: int, frame: FrameType | None) -> None:
        if feed.endless:
            for each in _ENDING:
                signal.signal(each, signal.SIG_IGN)
            raise KeyboardInterrupt
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    replaced = [number for number, handler in before.items() if callable(handler)]
    for number in replaced:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in replaced:
            if signal.getsignal(number) is interrupt:
                signal.signal(number, before[number])


def _printable(name: str) -> str:
    """A name without what cannot be written as UTF-8: file names are any bytes."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _naming(source: Source, error: DataError) -> DataError:
    """The error of a picture that has no path, with the name of its source."""
    if isinstance(source.picture, str | Path):
        return error
    name = "standard input" if source.name == "-" else source.name
    return DataError(f"{name}: {error}", hint=error.hint)
