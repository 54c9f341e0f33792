"""Starting several processes in tests, by the launcher of `--nproc`, in a process of their own."""

import subprocess
import sys

_LAUNCH = """
import sys
from edgetl.workstation.training.distributed.launching import launch
sys.exit(launch([sys.executable, *sys.argv[2:]], int(sys.argv[1])))
"""


def run_together(*command: str, count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run `python *command` in some processes; they are killed after two minutes."""
    return subprocess.run(
        [sys.executable, "-c", _LAUNCH, str(count), *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
