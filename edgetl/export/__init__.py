"""Checkpoint to float artifact, one file per format."""

from edgetl.core.manifest import Format, Scheme

SCHEMES: dict[Format, tuple[Scheme, ...]] = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "tflite": ("fp32", "fp16", "int8"),
}
