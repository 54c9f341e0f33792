"""Strict, frozen data: an unknown key is an error that names the nearest known one."""

import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgetl.core.errors import SchemaError

T = TypeVar("T")

# A manifest with 1,000 labels is about 100 kB; nothing honest comes near this.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every typed record in edgetl: immutable, no unknown keys.

    Subclasses say `kw_only=True` themselves, which msgspec does not inherit, and `frozen=True`,
    which type checkers do not.
    """


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`, or None where nothing is close."""
    import difflib  # only who has misspelt something pays for it

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_choice_hint(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest one, then all of them."""
    choices = sorted(known)
    guess = nearest(word, choices)
    prefix = f"did you mean '{guess}'? " if guess else ""
    return f"{prefix}The choices are: {', '.join(choices)}."


def from_json(text: bytes | str, kind: type[T], *, where: str) -> T:
    """Decode strict JSON into `kind`. Raises SchemaError that names `where`."""
    return _decode(text, kind, where, msgspec.json.decode)


def from_yaml(text: bytes | str, kind: type[T], *, where: str) -> T:
    """Decode strict YAML (safe subset, no tags) into `kind`. Raises SchemaError."""
    return _decode(text, kind, where, _decode_yaml)


def _decode_yaml(text: bytes | str) -> Any:
    import yaml  # reading YAML is off the prediction path: a device that only predicts never pays

    class Loader(yaml.SafeLoader):
        """The safe loader, with YAML 1.2's numbers: `1e-3` is one, not a text."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    # ValueError: a date that is none, which yaml turns into a date by itself.
    except (yaml.YAMLError, ValueError) as error:
        raise msgspec.DecodeError(str(error).replace("\n", " ")) from error


def to_yaml(value: Any) -> str:
    """Plain YAML of a record, keys in field order."""
    import yaml

    return str(yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True))


def to_json(value: Any) -> str:
    """Indented JSON of a record, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def read_document(path: Path) -> bytes:
    """The bytes of a small text document. Raises SchemaError if missing or implausibly large."""
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise SchemaError(f"'{path}' is larger than {MAX_DOCUMENT_BYTES // 2**20} MB.")
        return path.read_bytes()
    except OSError as error:
        raise SchemaError(f"'{path}' cannot be read: {error.strerror}.") from error


def convert(value: Any, kind: type[T], *, where: str) -> T:
    """Check plain dicts and lists against `kind`. Raises SchemaError that names `where`."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise SchemaError(f"{where}: {error}.", hint=_suggest(str(error), kind)) from error


def _decode(text: bytes | str, kind: type[T], where: str, parse: typing.Callable[..., Any]) -> T:
    try:
        value = parse(text)
    except msgspec.DecodeError as error:
        raise SchemaError(f"{where} is not well formed: {error}.") from error
    except UnicodeDecodeError as error:
        raise SchemaError(f"{where} is not UTF-8 text.") from error
    except RecursionError as error:
        raise SchemaError(f"{where} is nested too deeply.") from error
    return convert(value, kind, where=where)


def _suggest(message: str, kind: type) -> str:
    """For 'Object contains unknown field `x` - at `$.a.b`': the known fields at that place."""
    unknown = re.search(r"unknown field `([^`]*)`(?: - at `\$([^`]*)`)?", message)
    if not unknown:
        return ""
    target = _struct_at(kind, re.findall(r"\.(\w+)", unknown.group(2) or ""))
    if target is None:
        return ""
    fields = [field.encode_name for field in msgspec.structs.fields(target)]
    return unknown_choice_hint(unknown.group(1), fields)


def _struct_at(kind: Any, path: list[str]) -> type[msgspec.Struct] | None:
    for name in path:
        struct = _as_struct(kind)
        if struct is None:
            return None
        kind = next((f.type for f in msgspec.structs.fields(struct) if f.name == name), None)
    return _as_struct(kind)


def _as_struct(kind: Any) -> type[msgspec.Struct] | None:
    """The struct inside `kind`, looking through tuples, dicts and unions."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    for inner in typing.get_args(kind):
        found = _as_struct(inner)
        if found:
            return found
    return None
