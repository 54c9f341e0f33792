"""What is known of another machine before edgetl runs there."""

import tempfile
from pathlib import Path
from typing import Any

from edgetl.bundle.manifest import Isa
from edgetl.core.errors import SchemaError
from edgetl.core.files import write_text
from edgetl.core.schema import Frozen, from_json
from edgetl.devices.probe import MachineFacts, Recognised, read_machine, recognise
from edgetl.devices.profiles import load_devices
from edgetl.remote.address import Address, RemoteError
from edgetl.remote.programs import DEFAULT_PYTHON

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
# What a shell exits with if a program is not there, or cannot be run.
_NOT_FOUND = (126, 127)


class SystemFacts(Frozen, kw_only=True, frozen=True):
    """The Python, system and processor of another machine.

    Attributes:
        python: the version of its Python, e.g. "3.11.2", and `executable`, its path.
        can_make_environments: whether `python -m venv` works.
        kernel: the kernel's name of the processor, e.g. "aarch64".
        bits: of its Python, 32 or 64.
        libc, libc_version: e.g. "glibc" and "2.36"; empty for musl.
        folder: where edgetl keeps its environments there.
        free_bytes: of that folder's file system.
        environment: what setup recorded of the environment; None if there is none.
        cpuinfo, model, compatible: the texts of /proc from which a board is recognised.
    """

    python: str
    executable: str
    can_make_environments: bool
    kernel: str
    bits: int
    libc: str
    libc_version: str
    folder: str
    free_bytes: int
    environment: Any
    cpuinfo: str
    model: str
    compatible: str

    def version(self) -> tuple[int, int]:
        """Major and minor version of Python."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def minor_version(self) -> str:
        """Major and minor version of Python, e.g. "3.11"."""
        return ".".join(map(str, self.version()))

    def require_printable(self) -> None:
        """Raises ValueError if what messages show of it could control the terminal."""
        shown = (self.python, self.executable, self.kernel, self.libc, self.libc_version)
        if not all(text.isprintable() for text in (*shown, self.folder)):
            raise ValueError("it contains control characters")

    def recognised(self) -> Recognised:
        """The device profile that fits the machine."""
        return recognise(self._machine(), load_devices())

    def isa(self) -> Isa | None:
        """The instruction set in which its Python runs; None if edgetl does not know it."""
        return self._machine().isa

    def _machine(self) -> MachineFacts:
        with tempfile.TemporaryDirectory() as root:
            tree = Path(root) / "proc" / "device-tree"
            tree.mkdir(parents=True)
            write_text(tree.parent / "cpuinfo", self.cpuinfo)
            write_text(tree / "model", self.model)
            write_text(tree / "compatible", self.compatible)
            return read_machine(Path(root), kernel=self.kernel, bits=self.bits)


def read_facts(code: int, printed: bytes, error: str, address: Address) -> SystemFacts:
    """Read what the program `facts` printed on a machine.

    Args:
        code: its exit code.
        printed: its standard output.
        error: the last line of its standard error.
        address: the machine.

    Raises RemoteError if Python is missing or too old there, or the answer is malformed.
    """
    python = address.python or DEFAULT_PYTHON
    if code in _NOT_FOUND:
        raise RemoteError(
            f"'{address.name}' has no Python as '{python}'.",
            hint="there: sudo apt install python3 python3-venv",
        )
    if code:
        raise RemoteError(
            f"'{address.name}' cannot be examined: {error}.",
            hint=f"edgetl needs Python 3.10 to 3.13 there; `{python} --version` shows what it has.",
        )
    try:
        facts = from_json(printed, SystemFacts, where=f"what '{address.name}' answered")
        facts.version()
        facts.require_printable()
    except (SchemaError, ValueError) as error_:
        raise RemoteError(
            f"'{address.name}' answered something unexpected: {error_}",
            hint=f"`{address.command()} true` should print nothing.",
        ) from error_
    return facts


def require_usable(facts: SystemFacts, address: Address) -> None:
    """Raises RemoteError if edgetl cannot run on the machine, with what to install there."""
    if not OLDEST_PYTHON <= facts.version() <= NEWEST_PYTHON:
        raise RemoteError(
            f"'{address.name}' has Python {facts.python}; edgetl needs 3.10 to 3.13.",
            hint="install one of these there, and name it: `edgetl devices setup --python PATH`, "
            "or ansible_python_interpreter in an inventory.",
        )
    if not facts.can_make_environments:
        raise RemoteError(
            f"Python {facts.python} on '{address.name}' cannot make virtual environments.",
            hint="there: sudo apt install python3-venv",
        )
    if facts.isa() is None:
        raise RemoteError(
            f"No engine of edgetl runs on '{address.name}': its processor is '{facts.kernel}', "
            f"its Python has {facts.bits} bits.",
            hint="it needs x86-64, 64-bit ARM (aarch64) or 32-bit ARMv7.",
        )
