"""Picture -> label: the classifier that the device runs."""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgetl.bundle.archive import Bundle
from edgetl.bundle.manifest import Artifact
from edgetl.bundle.reports import LabelScore, Prediction
from edgetl.core.errors import EdgetlError, EngineError
from edgetl.runtime.engines.registry import installed, load_engine
from edgetl.runtime.preprocess import Picture, Pixels, decode, prepare
from edgetl.runtime.selection import Choice, choose, matches_target
from edgetl.runtime.softmax import softmax
from edgetl.runtime.sources import Source
from edgetl.runtime.tuned import read_tuned

if TYPE_CHECKING:
    from concurrent.futures import Future

# How many pictures are read ahead of the one being classified.
_AHEAD = 2


class _Read(NamedTuple):
    """A picture as network input, and how long it took to make in milliseconds."""

    pixels: Pixels
    decode_ms: float
    preprocess_ms: float


class Classifier:
    """A bundle's network, loaded and ready to classify.

        Classifier("model.edgetl")("photo.jpg").label

    Args:
        bundle: a `model.edgetl`, opened or as a path.
        engine: "onnxruntime", "openvino", "litert", "tflite-runtime", one of them with a provider,
            e.g. "onnxruntime:cuda", or "auto": the one that `edgetl tune` found fastest here, else
            the first that is installed.
        artifact: e.g. "tflite-int8"; None: int8 if the bundle has it.
        threads: None: the number that `edgetl tune` found fastest, else that of the device the
            bundle was made for, else one per core.

    Raises BundleError or EngineError; EdgetlError if `threads` is out of range.
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
    def provider(self) -> str:
        """The engine's name for what it computes on, e.g. "CPUExecutionProvider"."""
        return self._engine.provider

    def __call__(self, picture: Picture, *, top: int = 5, source: str | None = None) -> Prediction:
        """Classify one picture.

        Args:
            picture: a path, encoded bytes, a binary file, or a Pillow image.
            top: how many classes to report.
            source: the name to report; the path by default, or "-" if there is none.

        Raises DataError if it cannot be read, EngineError if the engine fails.
        """
        name = source or (str(picture) if isinstance(picture, str | Path) else "-")
        return self._answer(self._read(picture), name, top)

    def stream(self, sources: Iterable[Source], *, top: int = 5) -> Iterator[Prediction]:
        """Classify many pictures in order, reading the next ones while one is classified.

        Raises DataError at the first picture that cannot be read, after yielding all predictions
        before it; EngineError if the engine fails.
        """
        # Imported here so that classifying a single picture does not wait for it.
        from concurrent.futures import ThreadPoolExecutor

        waiting: deque[tuple[str, Future[_Read]]] = deque()

        def next_prediction() -> Prediction:
            name, read = waiting.popleft()
            return self._answer(read.result(), name, top)

        with ThreadPoolExecutor(1, "edgetl-read") as reader:
            try:
                for source in sources:
                    waiting.append((source.name, reader.submit(self._read, source.picture)))
                    if len(waiting) > _AHEAD:
                        yield next_prediction()
                while waiting:
                    yield next_prediction()
            finally:
                reader.shutdown(cancel_futures=True)

    def _read(self, picture: Picture) -> _Read:
        start = time.perf_counter()
        image = decode(picture, self.preprocess.resize_px)
        decoded = time.perf_counter()
        pixels = prepare(image, self.preprocess)
        prepared = time.perf_counter()
        return _Read(pixels, (decoded - start) * 1e3, (prepared - decoded) * 1e3)

    def _answer(self, read: _Read, source: str, top: int) -> Prediction:
        start = time.perf_counter()
        probabilities = softmax(self.logits(read.pixels), self.temperature)
        inference_ms = (time.perf_counter() - start) * 1e3
        best = np.argsort(-probabilities, kind="stable")[: max(1, top)]
        ranked = tuple(
            LabelScore(label=self.labels[i], probability=float(probabilities[i])) for i in best
        )
        return Prediction(
            source=source,
            label=ranked[0].label,
            probability=ranked[0].probability,
            top=ranked,
            decode_ms=read.decode_ms,
            preprocess_ms=read.preprocess_ms,
            inference_ms=inference_ms,
            artifact=self.artifact.name,
            engine=self.engine_version,
            provider=self.provider,
        )

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Run one prepared picture, uint8 [size, size, 3]; returns logits, float32 [classes].

        Raises EngineError if the engine fails or returns another shape.
        """
        try:
            logits = self._engine(pixels[np.newaxis])
        except Exception as error:  # each engine raises its own errors
            raise EngineError(f"Engine '{self.engine_name}' failed: {error}") from error
        if logits.shape != (1, len(self.labels)):
            raise EngineError(
                f"Artifact '{self.artifact.name}' answers in shape {logits.shape}; "
                f"the bundle has {len(self.labels)} labels."
            )
        row: NDArray[np.float32] = logits[0]
        return row


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
