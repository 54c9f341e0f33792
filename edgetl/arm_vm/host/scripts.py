"""Run any Python script on an emulated board."""

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
    """Run a script that may import edgetl's device half; yields the lines that it prints.

    Args:
        script: a Python file.
        arguments: its command-line arguments.
        board: the board to emulate.
        files: more files for the script's working folder, /job, in which it lies itself.
        counted: whether the clock advances by one nanosecond per instruction.
        progress: where progress is shown.

    Raises EdgetlError if it cannot be run or ends with an error.
    """
    machine = build_machine(progress)
    with tempfile.TemporaryDirectory() as temporary:
        job = Path(temporary)
        write_device_half(job)
        for path in (script, *files):
            if not path.is_file():
                raise EdgetlError(f"'{path}' is not a file.", hint="check the path.")
            shutil.copyfile(path, job / path.name)
        name = f"/job/{script.name}"
        start = _START.format(arguments=[name, *arguments], script=name)
        write_text(job / START, start)
        yield from boot(machine, board, job, counted=counted)
