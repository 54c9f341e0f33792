"""Keeps some pictures of a running classifier, and counts all its answers."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image

from edgetl.bundle.reports import Prediction
from edgetl.collection.choosing import Chooser, Rules, Scene
from edgetl.collection.days import Answerer, DayBook, DayEntry
from edgetl.collection.labels import BUNDLE_VERSION, BundleLabels
from edgetl.collection.records import Reason, storable
from edgetl.collection.waiting import ChosenPicture
from edgetl.collection.writer import FolderWriter
from edgetl.core.errors import EdgetlError
from edgetl.runtime.classifier import Classifier

# A larger file is not kept.
MAX_PICTURE_BYTES = 64 * 1024**2


class Collector:
    """Keeps unknown, uncertain and some other pictures in a folder, and counts all answers there.

    Nothing that happens to the folder ends what classifies, or delays it for long: a thread writes
    the pictures, a full or read-only disk gives one warning, and it is tried again later.

    Args:
        folder: made if missing; what is in it already counts.
        classifier: what answers.
        rules: which pictures are kept.
        max_bytes: what they may take together (`edgetl.collection.store.PictureStore`).
        say: called with a sentence about trouble, from any thread.

    Raises FolderInUseError if another process collects into the folder.
    """

    def __init__(
        self,
        folder: Path,
        classifier: Classifier,
        rules: Rules,
        max_bytes: int,
        say: Callable[[str], None],
    ) -> None:
        bundle, labels = classifier.bundle, classifier.labels
        self._days = DayBook(folder, Answerer(bundle.digest, classifier.artifact.name, labels), say)
        described = BundleLabels(
            version=BUNDLE_VERSION,
            digest=bundle.digest,
            name=storable(bundle.path.name),
            labels=labels,
        )
        self._writer = FolderWriter(folder, described, self._days, max_bytes, say)
        # A process that answers one picture must not draw the same number as the one before it.
        before = sum(entry.answers.images for entry in self.today())
        self._chooser = Chooser(rules, seed=f"{_today()} {before}")

    @property
    def kept(self) -> dict[Reason, int]:
        """The number of pictures that were written, by reason."""
        return dict(self._writer.kept)

    @property
    def lost(self) -> int:
        """How many pictures were to be kept, but could not be read or written in time."""
        return self._writer.lost

    def add(
        self,
        picture: Path | bytes | Image.Image,
        prediction: Prediction,
        *,
        scene: Scene | None = None,
        time: datetime | None = None,
        wait: bool = False,
    ) -> None:
        """Count an answer, and keep its picture if the rules say so.

        Args:
            picture: as it was classified: a file, encoded bytes, or a camera's frame.
            prediction: its answer.
            scene: what it shows, to keep few pictures of the same; None: it is one by itself.
            time: when it was taken; None: now.
            wait: wait while too many pictures are being written; otherwise this one is lost.
        """
        time = time or datetime.now(timezone.utc)
        self._days.add(prediction, time)
        reason = self._chooser.choose(prediction, scene)
        if reason is None:
            return
        content = None if self._writer.paused else _content(picture)
        if content is None:
            self._writer.lose()
        else:
            self._writer.put(ChosenPicture(content, prediction, time, reason), wait=wait)

    def today(self) -> tuple[DayEntry, ...]:
        """Today's counts, those of earlier processes included; none if these cannot be read."""
        try:
            return self._days.entries(_today())
        except EdgetlError:  # the writer meets the same trouble, and says so
            return ()

    def close(self) -> None:
        """Write what is left to write; may take seconds."""
        self._writer.close()


def _today() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d}"


def _content(picture: Path | bytes | Image.Image) -> bytes | Image.Image | None:
    """A picture's bytes, read now as the file may be gone later; None if that is not possible."""
    if not isinstance(picture, Path):
        return picture
    try:
        with picture.open("rb") as file:
            content = file.read(MAX_PICTURE_BYTES + 1)
    except OSError:
        return None
    return content if 0 < len(content) <= MAX_PICTURE_BYTES else None
