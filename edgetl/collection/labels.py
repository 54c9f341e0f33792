"""The labels that a collected folder's pictures can be given."""

from collections.abc import Iterable
from pathlib import Path

from edgetl.bundle.manifest import Sha256
from edgetl.collection.records import CollectedPicture
from edgetl.core.errors import SchemaError
from edgetl.core.files import make_folder, write_durably
from edgetl.core.schema import Frozen, from_json, read_document, to_json

BUNDLES_FOLDER = "bundles"
BUNDLE_VERSION = 1


class BundleLabels(Frozen, kw_only=True, frozen=True):
    """A bundle that answered pictures of the folder: the contents of `bundles/DIGEST.json`.

    Attributes:
        version: the version of this format.
        digest: the bundle's.
        name: the name of its file.
        labels: its classes.
    """

    version: int
    digest: Sha256
    name: str
    labels: tuple[str, ...]


def write_labels(folder: Path, bundle: BundleLabels) -> None:
    """Write down what a bundle can answer. Raises EdgetlError."""
    make_folder(folder / BUNDLES_FOLDER)
    path = folder / BUNDLES_FOLDER / f"{bundle.digest}.json"
    if not path.exists():
        write_durably(path, to_json(bundle).encode())


def known_labels(folder: Path, pictures: Iterable[CollectedPicture]) -> tuple[str, ...]:
    """The labels of the bundles that answered pictures, then those that people added, sorted.

    Raises SchemaError if a bundle's file is malformed.
    """
    labels: dict[str, None] = {}
    entered: set[str] = set()
    files = folder / BUNDLES_FOLDER
    for path in sorted(files.glob("*.json")) if files.is_dir() else ():
        bundle = from_json(read_document(path), BundleLabels, where=f"'{path}'")
        if bundle.version > BUNDLE_VERSION:
            raise SchemaError(f"'{path}' was written by a newer edgetl.", hint="update edgetl.")
        labels |= dict.fromkeys(bundle.labels)
    for _, record in pictures:
        labels |= dict.fromkeys(score.label for score in record.prediction.top)
        if record.review and record.review.label is not None:
            entered.add(record.review.label)
    return (*labels, *sorted(entered - labels.keys()))
