"""A server whose engine waits at a gate: `python -m tests.serving.gated BUNDLE FOLDER LIMITS`.

It is made with the Python API, as users would; the gate is an observer, which is called before each
answer, while the engine waits. It is open while the file FOLDER/open exists.
"""

import json
import sys
import time
from pathlib import Path

from edgetl.bundle.reports import Prediction
from edgetl.runtime.classifier import Classifier
from edgetl.serving.address import address_of, listen
from edgetl.serving.app import make_app
from edgetl.serving.limits import Limits
from edgetl.serving.server import run


class Gate:
    """Holds answers back; FOLDER/held exists while it does."""

    def __init__(self, folder: Path) -> None:
        self._open, self._held = folder / "open", folder / "held"

    def add(self, _: bytes, __: Prediction) -> None:
        """Wait until the gate is open."""
        self._held.touch()
        while not self._open.exists():
            time.sleep(0.005)
        self._held.unlink(missing_ok=True)


def main(bundle: str, folder: str, limits: str) -> None:
    """Serve until a signal comes."""
    given = Limits(**json.loads(limits))
    with listen("127.0.0.1", 0) as listener:
        app = make_app(Classifier(bundle, threads=1), limits=given, observers=[Gate(Path(folder))])
        address = address_of(listener)
        run(app, listener, given, lambda: print(address, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
