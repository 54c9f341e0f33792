"""Static int8 for OpenVINO, by NNCF's post-training quantization."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from edgetl.quantize.calibration import batches


def quantize_openvino(
    float_files: tuple[bytes, ...], calibration: Sequence[NDArray[np.uint8]]
) -> tuple[bytes, ...]:
    """Return `(xml, bin)` in int8: int8 weights per channel, 8-bit activations.

    Input and output stay uint8 [1, H, W, 3] and float32 [1, C].

    Args:
        float_files: what `export_openvino` returned in float32.
        calibration: uint8 [H, W, 3] pictures, exactly as the runtime would feed them.

    Raises:
        EdgetlError: there is no picture, or one is not of the model's shape.
    """
    xml, weights = float_files
    model = ov.Core().read_model(model=xml, weights=weights)
    pictures = batches(calibration, model.input(0).shape)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(pictures),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        fast_bias_correction=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(quantized, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
