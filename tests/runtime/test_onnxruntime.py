import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.making import inside


def test_no_telemetry_client_leaves_its_file(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    code = f"from edgetl import Classifier; Classifier({str(tiny_bundle)!r}, engine='onnxruntime')"
    given = {key: os.environ[key] for key in os.environ if key != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env=given | {"TMPDIR": str(tmp_path)}, check=True)
    assert inside(tmp_path) == []
