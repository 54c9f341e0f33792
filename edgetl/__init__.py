"""edgetl: from a folder of photographs to a small classifier that provably works on the device.

from edgetl import Classifier
Classifier("model.edgetl")("photo.jpg").label
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetl.runtime.classifier import Classifier

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Classifier` when it is asked for: `edgetl --help` needs neither numpy nor Pillow."""
    if name == "Classifier":
        from edgetl.runtime.classifier import Classifier

        return Classifier
    raise AttributeError(f"module 'edgetl' has no attribute '{name}'")
