"""Strict, frozen records: an unknown key is an error that suggests the nearest known one."""

import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgetl.core.errors import SchemaError

T = TypeVar("T")

# A manifest with 1,000 labels is about 100 kB; no genuine document comes near this.
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of every typed record in edgetl: immutable, no unknown keys.

    Subclasses repeat `kw_only=True`, because msgspec does not inherit it, and `frozen=True`,
    because type checkers do not.
    """


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to `word`, or None if none is close."""
    import difflib  # imported only when a name is misspelt

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_choice_hint(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known name, then all known names."""
    choices = sorted(known)
    guess = nearest(word, choices)
    prefix = f"did you mean '{guess}'? " if guess else ""
    return f"{prefix}The choices are: {', '.join(choices)}."


def from_json(text: bytes | str, kind: type[T], *, where: str) -> T:
    """Decode JSON strictly into `kind`. Raises SchemaError that names `where` the text is from."""
    return _decode(text, kind, where, msgspec.json.decode)


def from_yaml(text: bytes | str, kind: type[T], *, where: str) -> T:
    """Decode YAML (safe subset, no tags) strictly into `kind`. Raises SchemaError."""
    return _decode(text, kind, where, _decode_yaml)


def _decode_yaml(text: bytes | str) -> Any:
    import yaml  # imported here because prediction never reads YAML

    class Loader(yaml.SafeLoader):
        """The safe loader with the numbers of YAML 1.2: `1e-3` is a number, not a string."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    # yaml converts texts that look like dates and raises ValueError for an invalid date.
    except (yaml.YAMLError, ValueError) as error:
        raise msgspec.DecodeError(str(error).replace("\n", " ")) from error


def to_yaml(value: Any) -> str:
    """Encode a record as plain YAML, with the keys in field order."""
    import yaml

    return str(yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True))


def to_json(value: Any) -> str:
    """Encode a record as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def read_document(path: Path) -> bytes:
    """Read a small text document. Raises SchemaError if it is missing or larger than 16 MB."""
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise SchemaError(f"'{path}' is larger than {MAX_DOCUMENT_BYTES // 2**20} MB.")
        return path.read_bytes()
    except OSError as error:
        raise SchemaError(f"'{path}' cannot be read: {error.strerror}.") from error


def convert(value: Any, kind: type[T], *, where: str) -> T:
    """Convert plain dicts and lists to `kind`. Raises SchemaError that names `where`."""
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
    """A hint with the known fields, for 'Object contains unknown field `x` - at `$.a.b`'."""
    unknown = re.search(r"unknown field `([^`]*)`(?: - at `\$([^`]*)`)?", message)
    if not unknown:
        return ""
    target = _struct_at(kind, re.findall(r"\.(\w+)", unknown.group(2) or ""))
    if target is None:
        return ""
    name = unknown.group(1)
    fields = [field.encode_name for field in msgspec.structs.fields(target)]
    inside = [
        f"{outer.encode_name}.{name}"
        for outer in msgspec.structs.fields(target)
        if (struct := _as_struct(outer.type))
        and name in (field.encode_name for field in msgspec.structs.fields(struct))
    ]
    if inside:
        return f"did you mean {' or '.join(map(repr, inside))}?"
    return unknown_choice_hint(name, fields)


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
        struct = _as_struct(inner)
        if struct:
            return struct
    return None
