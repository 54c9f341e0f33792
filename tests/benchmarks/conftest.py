"""The benchmarks are scripts beside the package: here they can be imported."""

import sys
from pathlib import Path

_SCRIPTS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(_SCRIPTS))
# A source distribution has the tests without the benchmarks.
collect_ignore_glob = [] if _SCRIPTS.is_dir() else ["test_*.py"]
