"""Reading Ansible's inventory files, in INI and YAML form.

https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgetl.core.errors import SchemaError
from edgetl.core.schema import Frozen, from_yaml, read_document
from edgetl.remote.host_ranges import expanded

UNGROUPED = "ungrouped"
_YAML_SUFFIXES = (".yml", ".yaml", ".json")
_SECTION = re.compile(r"\[([^\[\]:\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")
# "web[01:03]:2222", but not an IPv6 address.
_WITH_PORT = re.compile(r"((?:[^\[\]:]|\[[^\]]*\])+):(\d+)")

Variables = Mapping[str, Any]


class Definition(NamedTuple):
    """A place where an inventory names a host: in a group, with variables."""

    host: str
    group: str
    variables: Variables


class RawGroup(NamedTuple):
    """A group as it is written: its child groups, and its variables."""

    children: list[str]
    variables: dict[str, Any]


class RawInventory(NamedTuple):
    """An inventory as it is written.

    Attributes:
        definitions: of hosts, in the order of the file.
        groups: by name; "all" is not among them unless it is written.
    """

    definitions: list[Definition]
    groups: dict[str, RawGroup]

    def group(self, name: str) -> RawGroup:
        """The group of a name, made if it is not there."""
        return self.groups.setdefault(name, RawGroup([], {}))


class YamlGroup(Frozen, kw_only=True, frozen=True):
    """A group in the YAML form."""

    hosts: dict[str, dict[str, Any] | None] | None = None
    children: "dict[str, YamlGroup | None] | None" = None
    vars: dict[str, Any] | None = None


def read_file(path: Path) -> RawInventory:
    """Read an inventory: YAML if the file's name ends in .yml, .yaml or .json, else INI.

    Raises SchemaError that names the line or the key that is wrong.
    """
    content = read_document(path)
    if path.suffix.lower() in _YAML_SUFFIXES:
        return _from_yaml(content, path)
    try:
        return _from_ini(content.decode(), path)
    except UnicodeDecodeError as error:
        raise SchemaError(f"'{path}' is not UTF-8 text.") from error


def _from_yaml(content: bytes, path: Path) -> RawInventory:
    top = from_yaml(content, dict[str, YamlGroup | None], where=f"'{path}'")
    inventory = RawInventory([], {})
    for name, group in top.items():
        _add_yaml(inventory, name, group or YamlGroup(), path)
    return inventory


def _add_yaml(inventory: RawInventory, name: str, group: YamlGroup, path: Path) -> None:
    raw = inventory.group(name)
    raw.variables.update(group.vars or {})
    for pattern, variables in (group.hosts or {}).items():
        for host in expanded(pattern, f"'{path}'"):
            inventory.definitions.append(Definition(host, name, variables or {}))
    for child, inside in (group.children or {}).items():
        if child not in raw.children:
            raw.children.append(child)
        _add_yaml(inventory, child, inside or YamlGroup(), path)


def _from_ini(text: str, path: Path) -> RawInventory:
    inventory = RawInventory([], {})
    group, kind = UNGROUPED, "hosts"
    for number, line in _lines(text):
        where = f"'{path}' line {number}"
        section = _SECTION.fullmatch(line)
        if section:
            group, kind = section[1], section[2] or "hosts"
            inventory.group(group)
            if kind not in ("hosts", "children", "vars"):
                raise SchemaError(
                    f"{where}: a section is [group], [group:children] or [group:vars], "
                    f"not '{line}'."
                )
        elif line.startswith("[") and kind != "hosts":
            raise SchemaError(f"{where}: '{line}' is not a section.")
        elif kind == "hosts":
            inventory.definitions.extend(_hosts(line, group, where))
        elif kind == "children":
            inventory.group(group).children.append(line.split("#")[0].strip())
        else:
            name, value = _variable(line, where)
            inventory.group(group).variables[name] = _unquoted(value)
    return inventory


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor a comment, with their numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(("#", ";")):
            yield number, line.strip()


def _hosts(line: str, group: str, where: str) -> Iterator[Definition]:
    """The hosts of a line such as `web[01:03]:2222 ansible_user=pi`."""
    try:
        pattern, *words = shlex.split(line, comments=True)
    except ValueError as error:
        raise SchemaError(f"{where}: {error}.") from error
    variables = dict(_variable(word, where) for word in words)
    if found := _WITH_PORT.fullmatch(pattern):
        pattern = found[1]
        variables.setdefault("ansible_port", found[2])
    for host in expanded(pattern, where):
        yield Definition(host, group, variables)


def _variable(text: str, where: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SchemaError(
            f"{where}: '{text}' is not a variable.", hint="write name=value, without spaces."
        )
    return name.strip(), value.strip()


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
