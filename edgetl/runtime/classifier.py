"""Picture -> label: the classifier that the device runs."""

import os
import time
from collections import deque
from collections.abc import Generator, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.bundle.reports import Heatmap, LabelScore, Prediction
from edgetl.core.errors import BundleError, DataError, EdgetlError, EngineError
from edgetl.runtime.engines.registry import installed, load_engine
from edgetl.runtime.heatmap import checked_feature_map, class_activation
from edgetl.runtime.preprocess import Picture, PictureLimits, Pixels, decode, prepare
from edgetl.runtime.selection import Choice, choose, matches_target
from edgetl.runtime.softmax import softmax
from edgetl.runtime.sources import Source
from edgetl.runtime.tuned import read_tuned
from edgetl.runtime.unknown import UNKNOWN, UnknownDetector

if TYPE_CHECKING:
    from concurrent.futures import Future

# How many pictures are read ahead of the one being classified.
_AHEAD = 2


class ReadPicture(NamedTuple):
    """A picture as network input.

    Attributes:
        pixels: uint8 RGB [size_px, size_px, 3].
        decode_ms, preprocess_ms: how long it took to decode, and to resize and crop.
    """

    pixels: Pixels
    decode_ms: float
    preprocess_ms: float


class Classifier:
    """A bundle's network, loaded and ready to classify.

    Args:
        bundle: a `model.edgetl`, opened or as a path.
        engine: "onnxruntime", "openvino", "litert", "tflite-runtime", one of them with a provider,
            e.g. "onnxruntime:cuda", or "auto": the one that `edgetl tune` found fastest here, else
            the first that is installed.
        artifact: e.g. "tflite-int8"; None: int8 if the bundle has it.
        threads: None: the number that `edgetl tune` found fastest, else that of the device the
            bundle was made for, else one per core.

    Raises BundleError or EngineError; EdgetlError if `threads` is out of range.

    Examples:
        ```python
        classifier = edgetl.Classifier("model.edgetl")
        prediction = classifier("photo.jpg", explain=True)
        print(f"{prediction.label}, {prediction.probability:.0%}, through {prediction.engine}")
        print(prediction.heatmap.logits)
        ```
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        *,
        engine: str = "auto",
        artifact: str | None = None,
        threads: int | None = None,
    ) -> None:
        # The members that are not run are hashed while the engine starts, which costs no time.
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle, wait=False)
        choice, default_threads = _decide(self.bundle, engine, artifact)
        self.engine_name = choice.engine
        self.artifact: Artifact = choice.artifact
        self.threads = checked_threads(default_threads if threads is None else threads)
        self._engine = load_engine(
            choice.engine,
            self.bundle.files(choice.artifact),
            threads=self.threads,
            provider=choice.provider,
        )
        self.preprocess = self.bundle.manifest.preprocess
        self.labels = self.bundle.manifest.labels
        own = self.artifact.temperature
        self.temperature = self.bundle.manifest.temperature if own is None else own
        self.bundle.require_whole()

    @property
    def engine_version(self) -> str:
        """The engine and its version, e.g. "litert 2.3.0"."""
        return f"{self.engine_name} {self._engine.version}"

    @property
    def has_unknown_rule(self) -> bool:
        """Whether the artifact can say which pictures are unlike the training classes."""
        return self.artifact.unknown is not None

    @property
    def provider(self) -> str:
        """The engine's name for what it computes on, e.g. "CPUExecutionProvider"."""
        return self._engine.provider

    def __call__(
        self,
        picture: Picture,
        *,
        top: int = 5,
        source: str | None = None,
        explain: bool = False,
        unknown: bool = False,
    ) -> Prediction:
        """Classify one picture.

        Args:
            picture: a path, encoded bytes, a binary file, or a Pillow image.
            top: how many classes to report.
            source: the name to report; the path by default, or "-" if there is none.
            explain: whether to add a heatmap, which needs an artifact with a feature map.
            unknown: whether to answer "unknown" to a picture that is unlike the training classes.

        Raises DataError if it cannot be read, EngineError if the engine fails, BundleError if
        there is no feature map, or no rule for unknown pictures (`has_unknown_rule`).
        """
        name = source or (str(picture) if isinstance(picture, str | Path) else "-")
        read = self.read(picture)
        return self.answer(read, source=name, top=top, explain=explain, unknown=unknown)

    def stream(
        self,
        sources: Iterable[Source],
        *,
        top: int = 5,
        explain: bool = False,
        unknown: bool = False,
    ) -> Generator[Prediction | DataError, None, None]:
        """Classify many pictures in order, reading the next ones while one is classified.

        Takes `top`, `explain` and `unknown` as a call does. Yields, for each picture, its
        prediction, or the DataError that says why it cannot be read. Raises EngineError and
        BundleError as a call does.
        """
        # Imported here so that classifying a single picture does not wait for it.
        from concurrent.futures import ThreadPoolExecutor

        waiting: deque[tuple[str, Future[ReadPicture]]] = deque()

        def next_answer() -> Prediction | DataError:
            name, future = waiting.popleft()
            try:
                read = future.result()
            except DataError as error:
                return error
            return self.answer(read, source=name, top=top, explain=explain, unknown=unknown)

        with ThreadPoolExecutor(1, "edgetl-read") as reader:
            try:
                for source in sources:
                    waiting.append((source.name, reader.submit(self.read, source.picture)))
                    if len(waiting) > _AHEAD:
                        yield next_answer()
                while waiting:
                    yield next_answer()
            finally:
                reader.shutdown(cancel_futures=True)

    def read(self, picture: Picture, *, limits: PictureLimits | None = None) -> ReadPicture:
        """Decode, resize and crop a picture: the first half of a call.

        It does not use the engine, so another thread may call it while the engine runs.

        Args:
            picture: as for a call.
            limits: which pictures to refuse before they are decoded; None: Pillow's own limit.

        Raises DataError if it cannot be read, is too large, or is beyond the limits.
        """
        start = time.perf_counter()
        image = decode(picture, self.preprocess.resize_px, limits=limits)
        decoded = time.perf_counter()
        pixels = prepare(image, self.preprocess)
        prepared = time.perf_counter()
        return ReadPicture(pixels, (decoded - start) * 1e3, (prepared - decoded) * 1e3)

    def heatmap(self, pixels: Pixels) -> Heatmap:
        """Make the heatmap of one prepared picture, uint8 [size, size, 3], for its likeliest label.

        Raises EngineError if the engine fails, BundleError if there is no feature map.
        """
        logits, feature_map = self.outputs(pixels)
        return self._heatmap(feature_map, int(logits.argmax()))

    def answer(
        self,
        read: ReadPicture,
        *,
        source: str = "-",
        top: int = 5,
        explain: bool = False,
        unknown: bool = False,
    ) -> Prediction:
        """Run the engine on a picture that was read: the second half of a call.

        Takes the arguments of a call, and raises EngineError and BundleError as it does.
        """
        start = time.perf_counter()
        logits, feature_map = self.outputs(read.pixels)
        probabilities = softmax(logits, self.temperature)
        verdict = None
        if unknown:
            confidence = float(probabilities.max())
            verdict = self.unknown_detector(confidence, read.pixels, feature_map)
        inference_ms = (time.perf_counter() - start) * 1e3
        best = np.argsort(-probabilities, kind="stable")[: max(1, top)]
        ranked = tuple(
            LabelScore(label=self.labels[i], probability=float(probabilities[i])) for i in best
        )
        return Prediction(
            source=source,
            label=UNKNOWN if verdict and verdict.unknown else ranked[0].label,
            probability=ranked[0].probability,
            top=ranked,
            decode_ms=read.decode_ms,
            preprocess_ms=read.preprocess_ms,
            inference_ms=inference_ms,
            artifact=self.artifact.name,
            engine=self.engine_version,
            provider=self.provider,
            heatmap=self._heatmap(feature_map, int(best[0])) if explain else None,
            unknown=verdict.unknown if verdict else None,
            distance=verdict.distance if verdict else None,
        )

    @cached_property
    def unknown_detector(self) -> UnknownDetector:
        """Tells pictures that are unlike the training classes; read when it is first used.

        Raises BundleError if the artifact has no rule for unknown pictures.
        """
        return UnknownDetector(self.bundle, self.artifact)

    @cached_property
    def _head_weights(self) -> NDArray[np.float32]:
        """The weights that make heatmaps of feature maps. Raises BundleError if there are none."""
        if self.artifact.feature_map is None and self.bundle.manifest.head is not None:
            named = ", ".join(a.name for a in self.bundle.manifest.artifacts if a.feature_map)
            raise BundleError(
                f"'{self.artifact.name}' has no feature map, which heatmaps are made from.",
                hint=f"these have one: {named}.",
            )
        return self.bundle.head_weights()

    def _heatmap(self, feature_map: NDArray[np.float32] | None, index: int) -> Heatmap:
        weights = self._head_weights
        checked = checked_feature_map(feature_map, self.artifact)
        activation = class_activation(checked, weights, index)
        return Heatmap(label=self.labels[index], logits=tuple(map(tuple, activation.tolist())))

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Run one prepared picture, uint8 [size, size, 3]; returns logits, float32 [classes].

        Raises EngineError if the engine fails or returns another shape.
        """
        return self.outputs(pixels)[0]

    def outputs(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Run one prepared picture, uint8 [size, size, 3].

        Returns its logits, float32 [classes], and its feature map, float32 [h, w, channels]; None
        if the artifact has no such output. Raises EngineError as `logits`.
        """
        try:
            logits, feature_map = self._engine.explain(pixels[np.newaxis])
        except Exception as error:  # each engine raises its own errors
            raise EngineError(f"Engine '{self.engine_name}' failed: {error}") from error
        if logits.shape != (1, len(self.labels)):
            raise EngineError(
                f"Artifact '{self.artifact.name}' answers in shape {logits.shape}; "
                f"the bundle has {len(self.labels)} labels."
            )
        row: NDArray[np.float32] = logits[0]
        return row, feature_map


def _decide(bundle: Bundle, engine: str, artifact: str | None) -> tuple[Choice, int | None]:
    """What to run, and the number of threads from tuning or the target device, else None."""
    if artifact is not None:
        bundle.artifact(artifact)
    elif engine == "auto":
        tuned = read_tuned(bundle)
        if tuned and installed(tuned.engine):
            fastest = f"{tuned.engine}:{tuned.provider}"
            return choose(bundle.manifest, fastest, tuned.artifact), _at_most(tuned.threads)
    choice = choose(bundle.manifest, engine, artifact)
    if matches_target(bundle.manifest) and bundle.manifest.target:
        return choice, _at_most(bundle.manifest.target.threads)
    return choice, None


def _at_most(threads: int) -> int:
    return min(threads, usable_cores())


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """The number of threads to use: `threads`, or one per core if it is None.

    Raises EdgetlError if it is below 1 or above the number of usable cores.
    """
    cores = usable_cores()
    if threads is None:
        return cores
    if not 1 <= threads <= cores:
        raise EdgetlError(
            f"--threads {threads} is out of range.", hint=f"this machine has {cores} cores."
        )
    return threads
