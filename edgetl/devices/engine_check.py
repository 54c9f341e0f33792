"""Whether each engine can run on this machine: its library is imported in a process of its own.

Run as `python -m edgetl.devices.engine_check ENGINE`; the last line of the output is a JSON list
of providers.
"""

import importlib
import signal
import subprocess
import sys
from typing import Literal

import msgspec

from edgetl.core.errors import first_line
from edgetl.core.schema import Frozen
from edgetl.runtime.engines.registry import ENGINES, installed, installed_version
from edgetl.runtime.engines.spec import Int8Precision
from edgetl.runtime.processor import this_machine

_TIMEOUT_S = 60


class EngineCheck(Frozen, kw_only=True, frozen=True):
    """An engine on this machine.

    Attributes:
        engine: its name.
        library: the Python package it needs, and `version`, None if that is missing.
        state: "broken" if the library is installed and cannot be imported.
        providers: what it can compute on here, e.g. ("cpu", "cuda").
        detail: why it is broken, or the command that installs it.
        limits: why int8 with 8-bit weights would be wrong here; "" if no problem is known.
    """

    engine: str
    library: str
    version: str | None
    state: Literal["runs", "broken", "missing"]
    providers: tuple[str, ...] = ()
    detail: str = ""
    limits: str = ""


def check_engine(name: str) -> EngineCheck:
    """Try a registered engine."""
    spec = ENGINES[name]
    if not installed(name):
        return EngineCheck(
            engine=name,
            library=spec.library,
            version=None,
            state="missing",
            detail=spec.install_hint,
        )
    providers, broken = _try(name)
    return EngineCheck(
        engine=name,
        library=spec.library,
        version=installed_version(spec.library) or "unknown",
        state="broken" if broken else "runs",
        providers=providers,
        detail=broken,
        limits=spec.limits(this_machine(), Int8Precision(reduced_range=False)),
    )


def _try(name: str) -> tuple[tuple[str, ...], str]:
    """Returns the engine's providers, and why its library cannot be imported, else ""."""
    command = [sys.executable, "-m", "edgetl.devices.engine_check", name]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return (), f"no answer within {_TIMEOUT_S} s"
    if tried.returncode < 0:
        return (), f"crashed ({signal.Signals(-tried.returncode).name})"
    if tried.returncode:
        return (), (tried.stderr.strip().splitlines() or ["no output"])[-1]
    return msgspec.json.decode(tried.stdout.splitlines()[-1], type=tuple[str, ...]), ""


def _providers(name: str) -> list[str]:
    spec = ENGINES[name]
    if spec.here is None:
        importlib.import_module(spec.library)
        return [spec.providers[0]]
    return list(spec.here())


if __name__ == "__main__":
    try:
        print(msgspec.json.encode(_providers(sys.argv[1])).decode())
    except Exception as error:  # a library's import may raise any exception
        sys.exit(f"{type(error).__name__}: {first_line(error)}")
