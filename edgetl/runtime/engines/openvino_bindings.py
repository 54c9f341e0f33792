"""OpenVINO itself: `from edgetl.runtime.engines.openvino_bindings import ov`.

`import openvino` also imports its model converter, which nothing here needs (some 60 ms), and sends
an event to Google Analytics by default (150 ms, and files in ~/intel): nobody who asks edgetl for a
label has agreed to that. OpenVINO is made to do without either, so both are hidden from it while it
is imported. Whoever imports it before edgetl does gets it whole.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Modules that cannot be imported meanwhile, unless they are already."""
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
