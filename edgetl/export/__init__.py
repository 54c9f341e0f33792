"""Checkpoint to float artifact, one file per format."""

SCHEMES: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "tflite": ("fp32", "fp16", "int8"),
}
