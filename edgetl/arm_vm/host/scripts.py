"""Run a Python script of one's own on an emulated board."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetl.arm_vm.host.boards import Board
from edgetl.arm_vm.host.build import build_machine
from edgetl.arm_vm.host.machine import START, boot
from edgetl.arm_vm.host.verify import write_device_half
from edgetl.core.errors import EdgetlError
from edgetl.core.files import write_text
from edgetl.core.progress import Progress

_START = """\
import runpy, sys
sys.argv = {arguments!r}
runpy.run_path({script!r}, run_name="__main__")
"""


def run_script(
    script: Path,
    arguments: Sequence[str],
    board: Board,
    *,
    files: Sequence[Path] = (),
    counted: bool = True,
    progress: Progress | None = None,
) -> Iterator[str]:
    """Yield the lines a script prints on a board, with edgetl's device half to import.

    Args:
        script: a Python file; it and `files` lie in its working folder there, /job.
        arguments: its command line.
        counted: nanoseconds there are instructions.

    Raises EdgetlError if it cannot be run or ends with an error.
    """
    machine = build_machine(progress)
    with tempfile.TemporaryDirectory() as temporary:
        job = Path(temporary)
        write_device_half(job)
        for path in (script, *files):
            if not path.is_file():
                raise EdgetlError(f"'{path}' is not a file.")
            shutil.copyfile(path, job / path.name)
        name = f"/job/{script.name}"
        start = _START.format(arguments=[name, *arguments], script=name)
        write_text(job / START, start)
        yield from boot(machine, board, job, counted=counted)
