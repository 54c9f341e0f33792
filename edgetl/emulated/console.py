"""The emulated machine's console: lines of its own, and records among them."""

import sys
from typing import Any

import msgspec

VERDICT = "@verdict "
WORKING = "@working"


def say(mark: str, record: Any = None) -> None:
    """Print a record on one line, behind its mark."""
    text = "" if record is None else msgspec.json.encode(record).decode()
    sys.stdout.write(f"\n{mark}{text}\n")
    sys.stdout.flush()
