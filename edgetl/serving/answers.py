"""The records that the server answers with, beside `edgetl.bundle.reports.Prediction`."""

import importlib.metadata

from edgetl.core.schema import Frozen
from edgetl.runtime.classifier import Classifier
from edgetl.serving.limits import Limits


class PictureFailure(Frozen, kw_only=True, frozen=True):
    """The answer to a picture that cannot be read, in the place of its prediction.

    Attributes:
        source: the file name that the form gives.
        error: what is wrong.
        hint: the next step; empty if the error is enough.
    """

    source: str
    error: str
    hint: str = ""


class Health(Frozen, kw_only=True, frozen=True):
    """What runs, and that it answers.

    Attributes:
        status: always "ok": a server that does not answer pictures returns an error.
        bundle: the bundle's file name.
        bundle_sha256: the file's sha256, as `sha256sum` prints it.
        artifact: the artifact that runs, e.g. "tflite-int8".
        engine: the engine and its version, e.g. "litert 2.3.0".
        provider: the engine's name for what it computes on, e.g. "CPUExecutionProvider".
        version: edgetl's version.
    """

    status: str
    bundle: str
    bundle_sha256: str
    artifact: str
    engine: str
    provider: str
    version: str


class Model(Frozen, kw_only=True, frozen=True):
    """What a client needs to know of the bundle and the server.

    Attributes:
        bundle: the bundle's file name.
        labels: the classes.
        artifact: the artifact that runs, e.g. "tflite-int8".
        engine: the engine and its version, e.g. "litert 2.3.0".
        size_px: the side of the square that the network sees.
        resize_px: what a picture's short side is resized to before that square is cut out.
        explains: whether `explain=true` is possible.
        unknown: whether pictures that are unlike the training classes are answered "unknown".
        max_body_bytes, max_files, max_pixels: the server's limits.
    """

    bundle: str
    labels: tuple[str, ...]
    artifact: str
    engine: str
    size_px: int
    resize_px: int
    explains: bool
    unknown: bool
    max_body_bytes: int
    max_files: int
    max_pixels: int


def edgetl_version() -> str:
    """The installed edgetl's version."""
    return importlib.metadata.version("edgetl")


def describe_health(classifier: Classifier) -> Health:
    """The answer of a server with this classifier while it is well; reads the bundle's file.

    Raises BundleError if that is no longer the file that was loaded.
    """
    return Health(
        status="ok",
        bundle=classifier.bundle.path.name,
        bundle_sha256=classifier.bundle.file_sha256(),
        artifact=classifier.artifact.name,
        engine=classifier.engine_version,
        provider=classifier.provider,
        version=edgetl_version(),
    )


def describe_model(classifier: Classifier, limits: Limits, *, unknown: bool) -> Model:
    """The facts about this classifier."""
    return Model(
        bundle=classifier.bundle.path.name,
        labels=classifier.labels,
        artifact=classifier.artifact.name,
        engine=classifier.engine_version,
        size_px=classifier.preprocess.size_px,
        resize_px=classifier.preprocess.resize_px,
        explains=explains(classifier),
        unknown=unknown,
        max_body_bytes=limits.body_bytes,
        max_files=limits.files,
        max_pixels=limits.pixels,
    )


def explains(classifier: Classifier) -> bool:
    """Whether the artifact that runs can make heatmaps."""
    return classifier.artifact.feature_map is not None and bool(classifier.bundle.manifest.head)
