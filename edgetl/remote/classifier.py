"""A bundle's network on another machine, used as `edgetl.Classifier` is used here."""

from collections.abc import Generator, Iterable
from pathlib import Path

from edgetl.bundle.archive import Bundle
from edgetl.bundle.reports import Prediction
from edgetl.core.errors import DataError
from edgetl.remote.commands import SentPicture, Session, run_there
from edgetl.runtime.preprocess import Picture
from edgetl.runtime.sources import Source


class RemoteClassifier:
    """Classifies pictures on another machine; all of a `stream` are sent before the first answer.

    Args:
        session: the machine.
        bundle: the bundle.
        engine, artifact, threads: as `Classifier` takes them, for that machine.

    Attributes:
        has_unknown_rule: always False: which artifact runs is decided there.
    """

    has_unknown_rule = False

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        engine: str = "auto",
        artifact: str | None = None,
        threads: int | None = None,
    ) -> None:
        bundle.require_whole()
        self._session, self._bundle, self._engine = session, bundle, engine
        given = {"--engine": engine, "--artifact": artifact, "--threads": threads}
        self._options = [f"{name}={value}" for name, value in given.items() if value is not None]

    def __call__(
        self,
        picture: Picture,
        *,
        top: int = 5,
        source: str | None = None,
        explain: bool = False,
        unknown: bool = False,
    ) -> Prediction:
        """Classify one picture, a path or encoded bytes.

        Raises DataError if it cannot be read, RemoteError if the machine cannot do it.
        """
        one = Source(source or (str(picture) if isinstance(picture, str | Path) else "-"), picture)
        (answer,) = self.stream([one], top=top, explain=explain, unknown=unknown)
        if isinstance(answer, DataError):
            raise answer
        return answer

    def stream(
        self,
        sources: Iterable[Source],
        *,
        top: int = 5,
        explain: bool = False,
        unknown: bool = False,
    ) -> Generator[Prediction | DataError, None, None]:
        """Classify pictures in order; each is a path or encoded bytes.

        Yields, for each picture, its prediction, or the DataError that says why it cannot be read.
        Raises RemoteError if the machine cannot do it.
        """
        pictures = [_sent(source) for source in sources]
        options = [*self._options, f"--top={top}", *(["--unknown"] if unknown else [])]
        # The pictures drawn there are removed; the document has what they are drawn from.
        options += ["--explain=heatmaps"] if explain else []
        if pictures:
            yield from run_there(
                self._session, self._bundle, pictures, options, engine=self._engine
            )


def _sent(source: Source) -> SentPicture:
    if isinstance(source.picture, str | Path):
        return SentPicture(source.name, Path(source.picture))
    if isinstance(source.picture, bytes):
        return SentPicture(source.name, source.picture)
    raise DataError(
        f"'{source.name}' is not sent to another machine.",
        hint="send pictures; a camera or video is classified where it is, with edgetl there.",
    )
