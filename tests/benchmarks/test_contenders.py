"""benchmarks/contenders.py: one way from a photograph to a label, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import runtime

from edgetl.bundle.archive import Bundle
from edgetl.runtime.classifier import Classifier

pytest.importorskip("onnxruntime")

SCRIPT = Path(runtime.__file__).with_name("contenders.py")


def test_edgetl_answers_as_the_library_does_and_is_timed(tiny: Bundle, pictures: Path) -> None:
    shown = [str(pictures / kind / "03.png") for kind in ("checks", "slope")]
    ended = subprocess.run(
        [sys.executable, SCRIPT, "edgetl:onnxruntime", str(tiny.path), "2", *shown],
        capture_output=True,
        text=True,
        check=True,
    )
    first, document = ended.stdout.splitlines()
    classify = Classifier(tiny, engine="onnxruntime")
    assert classify.labels[int(first)] == classify(shown[0]).label
    measured = json.loads(document)
    assert {name: len(times) for name, times in measured["ms"].items()} == dict.fromkeys(shown, 2)
    assert measured["peak_bytes"] > 10_000_000
