"""Photograph -> label: what the device runs."""

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetl.core.bundle import Bundle
from edgetl.core.errors import EdgetlError, EngineError
from edgetl.core.manifest import Artifact, EngineName
from edgetl.core.metrics import softmax
from edgetl.core.reports import LabelScore, Prediction
from edgetl.runtime.engine import choose, load_engine
from edgetl.runtime.preprocess import Picture, Pixels, decode, prepare


class Classifier:
    """A bundle's network, ready to answer.

        Classifier("model.edgetl")("photo.jpg").label

    Args:
        bundle: a `model.edgetl`, opened or as a path.
        engine: "onnxruntime", "openvino", "litert", "tflite-runtime", or "auto".
        artifact: e.g. "tflite-int8"; None takes int8 where there is one.
        threads: None takes one per core.

    Raises BundleError or EngineError.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        *,
        engine: str = "auto",
        artifact: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        if artifact is not None:
            self.bundle.artifact(artifact)
        choice = choose(self.bundle.manifest, engine, artifact)
        self.engine_name: EngineName = choice.engine
        self.artifact: Artifact = choice.artifact
        self.threads = checked_threads(threads)
        self._engine = load_engine(
            choice.engine, self.bundle.files(choice.artifact), threads=self.threads
        )
        self.preprocess = self.bundle.manifest.preprocess
        self.labels = self.bundle.manifest.labels
        own = self.artifact.temperature
        self.temperature = self.bundle.manifest.temperature if own is None else own

    @property
    def engine_version(self) -> str:
        """The engine and its version, e.g. "litert 2.3.0"."""
        return f"{self.engine_name} {self._engine.version}"

    def __call__(self, picture: Picture, *, top: int = 5, source: str | None = None) -> Prediction:
        """Classify one picture.

        Args:
            picture: a path, encoded bytes, a binary file, or a Pillow image.
            top: how many classes to report.
            source: what to call it in the answer; the path by default.

        Raises DataError if it cannot be read, EngineError if the engine fails.
        """
        start = time.perf_counter()
        image = decode(picture, self.preprocess.resize_px)
        decoded = time.perf_counter()
        pixels = prepare(image, self.preprocess)
        prepared = time.perf_counter()
        probabilities = softmax(self.logits(pixels), self.temperature)
        done = time.perf_counter()
        best = np.argsort(-probabilities, kind="stable")[: max(1, top)]
        ranked = tuple(
            LabelScore(label=self.labels[i], probability=float(probabilities[i])) for i in best
        )
        return Prediction(
            source=source or (str(picture) if isinstance(picture, str | Path) else "-"),
            label=ranked[0].label,
            probability=ranked[0].probability,
            top=ranked,
            decode_ms=(decoded - start) * 1e3,
            preprocess_ms=(prepared - decoded) * 1e3,
            inference_ms=(done - prepared) * 1e3,
        )

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Logits float32 [classes] of one prepared picture, uint8 [size, size, 3].

        Raises EngineError if the engine fails or answers in another shape.
        """
        try:
            logits = self._engine(pixels[np.newaxis])
        except Exception as error:  # each engine has errors of its own
            raise EngineError(f"Engine '{self.engine_name}' failed: {error}") from error
        if logits.shape != (1, len(self.labels)):
            raise EngineError(
                f"Artifact '{self.artifact.name}' answers in shape {logits.shape}; "
                f"the bundle has {len(self.labels)} labels."
            )
        row: NDArray[np.float32] = logits[0]
        return row


def checked_threads(threads: int | None) -> int:
    """The thread count to use. Raises EdgetlError where it is below 1 or above the cores."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if threads is None:
        return cores
    if not 1 <= threads <= cores:
        raise EdgetlError(
            f"--threads {threads} is out of range.", hint=f"this machine has {cores} cores."
        )
    return threads
