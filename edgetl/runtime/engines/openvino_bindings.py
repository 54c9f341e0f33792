"""OpenVINO itself: `from edgetl.runtime.engines.openvino_bindings import ov`.

`import openvino` also imports its model converter, which edgetl does not use (some 60 ms), and by
default sends an event to Google Analytics (150 ms, and files in ~/intel), to which edgetl's users
have not agreed. OpenVINO works without either, so both modules are hidden while it is imported. If
openvino was imported before edgetl, nothing is hidden.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Make modules impossible to import inside the block, unless they are already imported."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _hidden("openvino.tools", "openvino_telemetry"):
    import openvino as ov

__all__ = ["ov"]
