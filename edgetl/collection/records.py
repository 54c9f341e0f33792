"""What is kept of a collected picture: its name, and the record beside it."""

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec

from edgetl.bundle.manifest import Sha256
from edgetl.bundle.reports import Prediction
from edgetl.collection.locks import COLLECTING_LOCK
from edgetl.core.errors import DataError, EdgetlError, SchemaError
from edgetl.core.schema import Frozen, from_json, read_document

RECORD_VERSION = 1

Reason = Literal["random", "uncertain", "unknown"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why a picture was kept, in the order in which a full folder lets go of pictures."""

# The digits of the hash are enough to recognise a picture by its name.
HASH_DIGITS = 16
_STEM = rf"\d{{8}}T\d{{9}}Z-(?:{'|'.join(REASONS)})-[0-9a-f]{{{HASH_DIGITS}}}"
_PICTURE = rf"^{_STEM}\.(?!json)[a-z0-9]{{1,8}}\Z"
_RECORD = re.compile(rf"{_STEM}\.json")
# A label of any length makes no sense, and this is far more than a page or a table can show.
MAX_LABEL_LENGTH = 200

PictureName = Annotated[str, msgspec.Meta(pattern=_PICTURE)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_LENGTH)]


class Review(Frozen, kw_only=True, frozen=True):
    """What a person says a picture shows.

    Attributes:
        label: its class; None: none of the classes.
        time: when that was entered, in UTC and ISO 8601.
    """

    label: Label | None
    time: str


class Record(Frozen, kw_only=True, frozen=True):
    """The JSON document beside a collected picture, of the same name but for its end.

    Attributes:
        version: the version of this format.
        time: when the picture was answered, in UTC and ISO 8601.
        picture: the name of its file, in the same folder.
        sha256: the hash of that file, in hex.
        bytes: its size.
        bundle: the digest of the bundle that answered (`edgetl.bundle.archive.Bundle.digest`).
        prediction: the answer, with the artifact and the engine; never with a heatmap.
        reason: why it was kept. "unknown": the answer was "unknown"; "uncertain": its confidence
            was low; "random": it was drawn from all pictures.
        review: what a person says it shows; None: nobody has looked yet.
    """

    version: int
    time: str
    picture: PictureName
    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=1)]
    bundle: Sha256
    prediction: Prediction
    reason: Reason
    review: Review | None = None


class CollectedPicture(NamedTuple):
    """A picture of a collected folder, and its record."""

    path: Path
    record: Record

    @property
    def record_path(self) -> Path:
        """Where the record is."""
        return self.path.with_suffix(".json")


class Contents(NamedTuple):
    """What a collected folder holds.

    Attributes:
        pictures: in the order of their times.
        problems: a sentence for each record that cannot be used.
    """

    pictures: tuple[CollectedPicture, ...]
    problems: tuple[str, ...]


def picture_name(time: datetime, reason: Reason, sha256: str, suffix: str) -> str:
    """The name of a picture's file: nothing of it comes from outside."""
    utc = time.astimezone(timezone.utc)
    stamp = f"{utc:%Y%m%dT%H%M%S}{utc.microsecond // 1000:03}Z"
    return f"{stamp}-{reason}-{sha256[:HASH_DIGITS]}.{suffix}"


def storable(text: str) -> str:
    """A text, such as a file's name, as UTF-8 can hold it."""
    return text.encode(errors="replace").decode()


class NameParts(NamedTuple):
    """What a picture's name says: why it was kept, and the first digits of its hash."""

    reason: Reason
    digits: str


def name_parts(name: str) -> NameParts | None:
    """Take a picture's name apart; None if it is not one of `picture_name`."""
    if not re.match(_PICTURE, name):
        return None
    _, reason, digits = Path(name).stem.split("-")
    return NameParts(next(each for each in REASONS if each == reason), digits)


def is_collected(folder: Path) -> bool:
    """Whether a folder is one that pictures are, or were, collected into."""
    if not folder.is_dir():
        return False
    return (folder / COLLECTING_LOCK).exists() or any(
        _RECORD.fullmatch(path.name) for path in folder.iterdir()
    )


def require_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is one."""
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder.")


def read_contents(folder: Path) -> Contents:
    """Read the records of a collected folder; records that cannot be used are named.

    Raises DataError if the folder is missing or holds no record.
    """
    require_folder(folder)
    names = sorted(path.name for path in folder.iterdir() if _RECORD.fullmatch(path.name))
    if not names:
        raise DataError(
            f"'{folder}' holds no collected pictures.",
            hint=f"`edgetl run BUNDLE SOURCE --collect {folder}` collects some.",
        )
    pictures, problems = [], []
    for name in names:
        try:
            pictures.append(read_record(folder / name))
        except EdgetlError as error:
            problems.append(str(error))
    return Contents(tuple(pictures), tuple(problems))


def read_record(path: Path) -> CollectedPicture:
    """Read a record, and check that its picture is there.

    Raises SchemaError if the record is malformed or was written by a newer edgetl, DataError if its
    picture is missing or has another size.
    """
    record = from_json(read_document(path), Record, where=f"'{path}'")
    if record.version > RECORD_VERSION:
        raise SchemaError(f"'{path}' was written by a newer edgetl.", hint="update edgetl.")
    picture = path.with_name(record.picture)
    if picture.stem != path.stem:
        raise SchemaError(f"'{path}' is the record of another picture.")
    try:
        whole = picture.stat().st_size == record.bytes
    except OSError as error:
        raise DataError(f"'{picture}' cannot be read: {error.strerror}.") from error
    if not whole:
        raise DataError(f"'{picture}' is not the picture of its record: its size differs.")
    return CollectedPicture(picture, record)
