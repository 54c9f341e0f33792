"""A page on which a person says what collected pictures show: one file, for any browser."""

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from edgetl.collection.labels import known_labels
from edgetl.collection.records import REASONS, CollectedPicture, Record, storable
from edgetl.collection.review_table import NONE_OF_THESE, NOT_REVIEWED
from edgetl.core.errors import DataError
from edgetl.core.files import write_text
from edgetl.core.html import embedded_json, inline_hashes
from edgetl.core.progress import Progress
from edgetl.runtime.preprocess import decode

_PAGE = Path(__file__).parent / "review.html"
_SIDE_PX = 512
_JPEG_QUALITY = 75


class WrittenPage(NamedTuple):
    """How many pictures a page shows, how many there was no room for, and which it cannot show."""

    shown: int
    left: int
    problems: list[str]


def write_page(
    folder: Path,
    pictures: Sequence[CollectedPicture],
    out: Path,
    progress: Progress,
    *,
    most: int,
    reviewed: bool = False,
) -> WrittenPage:
    """Write a page about a folder's pictures, which are in it as small JPEGs.

    The unknown ones come first, then the uncertain ones, and of each the newest.

    Args:
        folder: the collected folder.
        pictures: what it holds.
        out: the file to write.
        progress: where to show how far it is.
        most: how many pictures to show.
        reviewed: whether to show pictures that were reviewed before, too.

    Raises DataError if there is no picture to show, EdgetlError if `out` cannot be written.
    """
    asked = sorted(
        (each for each in pictures if reviewed or each.record.review is None),
        key=lambda each: (REASONS.index(each.record.reason), each.record.time),
        reverse=True,
    )
    if not asked:
        raise DataError(
            f"All pictures of '{folder}' are reviewed.", hint="--all shows them once more."
        )
    shown, problems = [], []
    with progress.stage("pictures", min(most, len(asked)), "pictures") as stage:
        for picture in asked[:most]:
            try:
                shown.append(_described(picture))
            except DataError as error:
                problems.append(str(error))
            stage.advance()
    if not shown:
        raise DataError(f"None of the pictures of '{folder}' can be read: {problems[0]}")
    left = len(asked) - len(shown) - len(problems)
    # Choices that a browser holds are of no use once other reviews were applied.
    reviews = sorted((each["name"], each["reviewed"], each["label"] or "") for each in shown)
    data = {
        "folder": storable(str(folder)),
        "key": f"edgetl-review-{hashlib.sha256(repr(reviews).encode()).hexdigest()[:32]}",
        "labels": known_labels(folder, pictures),
        "none": NONE_OF_THESE,
        "taken_back": NOT_REVIEWED,
        "left": left,
        "pictures": shown,
    }
    write_text(out, _page(data))
    return WrittenPage(len(shown), left, problems)


def _page(data: dict[str, Any]) -> str:
    page = _PAGE.read_text(encoding="utf-8")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {inline_hashes(page, 'script')}",
            f"style-src {inline_hashes(page, 'style')}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    # The data come last: whatever they hold, nothing in them is replaced.
    return page.replace("{policy}", policy, 1).replace("{data}", embedded_json(data), 1)


def _described(picture: CollectedPicture) -> dict[str, Any]:
    record, answer = picture.record, picture.record.prediction
    return {
        "name": record.picture,
        "image": _small(picture.path),
        "answer": answer.label,
        "top": [(score.label, score.probability) for score in answer.top],
        "facts": _facts(record),
        "reviewed": record.review is not None,
        "label": record.review.label if record.review else None,
    }


def _facts(record: Record) -> str:
    answer = record.prediction
    facts = [f"confidence {answer.probability:.1%}"]
    if answer.distance is not None:
        facts.append(f"distance {answer.distance:.2f} (unknown above 1)")
    facts += [f"kept as {record.reason}", record.time[:16].replace("T", " ") + " UTC"]
    return ", ".join(facts)


def _small(path: Path) -> str:
    """A picture as the address of a JPEG of at most `_SIDE_PX` a side. Raises DataError."""
    image = decode(path, _SIDE_PX)
    image.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
