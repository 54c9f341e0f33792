"""What another machine prints: untrusted text, and JSON that is checked before it is used."""

import unicodedata
from typing import Any, TypeVar

import msgspec

from edgetl.core.errors import SchemaError
from edgetl.core.schema import convert
from edgetl.remote.address import Address, RemoteError

MAX_ANSWER_BYTES = 16 * 1024 * 1024

# Control characters, separators of lines and paragraphs, and halves of characters.
_CONTROLS = ("Cc", "Zl", "Zp", "Cs")
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

T = TypeVar("T")


def printable(text: str) -> str:
    """A text that is safe for a terminal.

    Control characters other than line ends, and those that change the direction of writing, become
    spaces. All other characters stay: labels may have e.g. spaces that do not break.
    """
    return "".join(" " if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return character != "\n" and (
        unicodedata.category(character) in _CONTROLS or character in _DIRECTIONS
    )


def last_line(text: str) -> str:
    """The last line that is not empty, safe for a terminal, without a final full stop."""
    lines = [line.strip() for line in printable(text).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it printed nothing"


def read_answer(text: bytes, kind: type[T], address: Address) -> T:
    """Decode a JSON document from another machine strictly into `kind`.

    Strings in it are made safe for a terminal. Raises RemoteError if it is larger than 16 MB,
    malformed, or not of that kind.
    """
    try:
        if len(text) > MAX_ANSWER_BYTES:
            raise SchemaError(f"it is larger than {MAX_ANSWER_BYTES // 2**20} MB")
        return convert(_safe(msgspec.json.decode(text)), kind, where="its JSON")
    except (SchemaError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError(
            f"'{address.name}' answered something unexpected: {error}",
            hint="try again; if it stays, report it with `edgetl doctor --json` of that machine.",
        ) from error


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, dict):
        return {_safe(key): _safe(item) for key, item in value.items()}
    return value
