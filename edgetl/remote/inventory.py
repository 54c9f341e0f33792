"""The hosts of an Ansible inventory: where they are, and which groups they are in."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgetl.core.errors import SchemaError
from edgetl.core.schema import unknown_choice_hint
from edgetl.remote.address import Address, RemoteError, checked
from edgetl.remote.inventory_files import UNGROUPED, Definition, RawInventory, read_file

ALL = "all"
# The variables that edgetl follows, each with its older names.
_NAMES = {
    "ansible_ssh_host": "ansible_host",
    "ansible_ssh_port": "ansible_port",
    "ansible_ssh_user": "ansible_user",
    "ansible_private_key_file": "ansible_ssh_private_key_file",
}
_FOLLOWED = (
    "ansible_host", "ansible_port", "ansible_user", "ansible_ssh_private_key_file",
    "ansible_python_interpreter", "ansible_connection",
)  # fmt: skip
# Options of ssh can start programs here, and passwords would be typed by a program.
_REFUSED = (
    "ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args",
    "ansible_ssh_executable", "ansible_password", "ansible_ssh_pass", "ansible_ssh_password",
)  # fmt: skip
_SSH = ("ssh", "smart")
_SSH_PORT = 22
_FOUND_BY_ANSIBLE = ("auto", "auto_legacy", "auto_silent", "auto_legacy_silent")
_ENV = "/usr/bin/env "


class Inventory(NamedTuple):
    """The hosts of an inventory.

    Attributes:
        hosts: their addresses by name, in the order of the file.
        groups: the names of each group's hosts, those of its children included.
    """

    hosts: Mapping[str, Address]
    groups: Mapping[str, frozenset[str]]

    def select(self, pattern: str) -> list[Address]:
        """The hosts of a pattern, as `ansible --limit` takes it.

        Args:
            pattern: names of hosts and groups, also with * and ?, separated by commas; "!name"
                leaves out, and "&name" keeps only what is also there.

        Raises SchemaError if a name is unknown, or no host is left.
        """
        terms = [term.strip() for term in pattern.split(",") if term.strip()]
        wanted = [term for term in terms if term[0] not in "!&"]
        chosen = {name for term in wanted or [ALL] for name in self._named(term)}
        for term in terms:
            if term[0] == "&":
                chosen &= self._named(term[1:])
            elif term[0] == "!":
                chosen -= self._named(term[1:])
        if not chosen:
            raise SchemaError(f"The pattern '{pattern}' leaves no host of the inventory.")
        return [address for name, address in self.hosts.items() if name in chosen]

    def _named(self, term: str) -> set[str]:
        known = {**{name: {name} for name in self.hosts}, **self.groups}
        matching = fnmatch.filter(known, term) if set(term) & set("*?") else [term]
        if not set(matching) <= set(known) or not matching:
            raise SchemaError(
                f"The inventory has no host or group '{term}'.",
                hint=unknown_choice_hint(term, known),
            )
        return {name for one in matching for name in known[one]}


def read_inventory(path: Path) -> Inventory:
    """Read an inventory file.

    Raises SchemaError if it is malformed, contradicts itself, or has a variable that edgetl cannot
    follow.
    """
    raw = read_file(path)
    depths = _depths(raw, path)
    hosts: dict[str, Address] = {}
    members: dict[str, set[str]] = {group: set() for group in depths}
    for name in dict.fromkeys(definition.host for definition in raw.definitions):
        own = [definition for definition in raw.definitions if definition.host == name]
        groups = _groups_of((definition.group for definition in own), raw)
        for group in groups:
            members[group].add(name)
        hosts[name] = _address(name, _variables(own, groups, raw, depths, path), path)
    if not hosts:
        raise SchemaError(f"'{path}' names no host.")
    _require_different(hosts, path)
    return Inventory(hosts, {group: frozenset(names) for group, names in members.items()})


def _depths(raw: RawInventory, path: Path) -> dict[str, int]:
    """Each group's distance from "all", the longest if there are several."""
    depths = {UNGROUPED: 1, **dict.fromkeys(raw.groups, 1), ALL: 0}
    for _ in range(len(depths) + 1):
        deeper = {
            child: depths[name] + 1
            for name, group in raw.groups.items()
            for child in group.children
            if depths.get(child, 1) < depths[name] + 1
        }
        if not deeper:
            return depths
        depths |= deeper
    raise SchemaError(f"'{path}': group '{min(deeper)}' is inside itself.")


def _groups_of(direct: Iterable[str], raw: RawInventory) -> set[str]:
    """The groups that a host is in, and those that these are in."""
    groups, found = {ALL}, set(direct)
    while found:
        groups |= found
        found = {name for name, group in raw.groups.items() if found & set(group.children)} - groups
    return groups


def _variables(
    own: list[Definition],
    groups: set[str],
    raw: RawInventory,
    depths: Mapping[str, int],
    path: Path,
) -> dict[str, Any]:
    """A host's variables: its own, else those of its groups, the innermost first."""
    levels: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for group in sorted(groups):
        inside = raw.groups[group].variables if group in raw.groups else {}
        levels.setdefault(depths[group], []).append((f"group '{group}'", inside))
    defined = [(f"group '{one.group}'", one.variables) for one in own]
    merged = _agreed(own[0].host, defined, {}, path)
    for depth in sorted(levels, reverse=True):
        merged |= _agreed(own[0].host, levels[depth], merged, path)
    return merged


def _agreed(
    host: str,
    places: Iterable[tuple[str, Mapping[str, Any]]],
    decided: Mapping[str, Any],
    path: Path,
) -> dict[str, Any]:
    """The variables of several places that are not decided yet.

    Raises SchemaError if two places contradict each other.
    """
    values: dict[str, tuple[str, Any]] = {}
    for place, variables in places:
        for written, value in variables.items():
            name = _NAMES.get(written, written)
            if name in decided:
                continue
            before, old = values.setdefault(name, (place, value))
            if str(old) != str(value):
                raise SchemaError(
                    f"'{path}': {name} of '{host}' is '{old}' in {before}, and '{value}' in "
                    f"{place}.",
                    hint="keep one of them, or write it beside the host.",
                )
    return {name: value for name, (_, value) in values.items()}


def _address(name: str, variables: Mapping[str, Any], path: Path) -> Address:
    where = f"'{path}': host '{name}'"
    for refused in _REFUSED:
        if variables.get(refused):
            raise SchemaError(
                f"{where}: {refused} is not supported.",
                hint="put ssh's options into ~/.ssh/config or a file for --ssh-config, and log "
                "in with a key.",
            )
    known = {key: _text(variables[key], key, where) for key in _FOLLOWED if key in variables}
    if known.get("ansible_connection", "ssh") not in _SSH:
        raise SchemaError(f"{where}: ansible_connection is not ssh, which edgetl needs.")
    port = known.get("ansible_port")
    if port is not None and not re.fullmatch(r"[0-9]{1,5}", port):
        raise SchemaError(f"{where}: ansible_port is '{port}', not a number.")
    address = Address(
        name=name,
        host=known.get("ansible_host", name),
        user=known.get("ansible_user"),
        port=int(port) if port else None,
        key_file=_key_file(known.get("ansible_ssh_private_key_file"), where),
        python=_python(known.get("ansible_python_interpreter")),
    )
    try:
        return checked(address)
    except RemoteError as error:
        raise SchemaError(f"{where}: {error}", hint=error.hint) from error


def _text(value: Any, key: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SchemaError(f"{where}: {key} is not a text.")
    if "{{" in str(value):
        raise SchemaError(
            f"{where}: {key} is a template, which only Ansible fills in.",
            hint="write the value itself.",
        )
    return str(value)


def _key_file(text: str | None, where: str) -> Path | None:
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise SchemaError(f"{where}: there is no key file '{text}'.")
    return path


def _python(text: str | None) -> str | None:
    return None if text in (None, *_FOUND_BY_ANSIBLE) else str(text).removeprefix(_ENV)


def _require_different(hosts: Mapping[str, Address], path: Path) -> None:
    """Raises SchemaError if two names are the same machine: it would run two jobs at once."""
    names: dict[tuple[str, int], str] = {}
    for name, address in hosts.items():
        place = (address.host.lower(), address.port or _SSH_PORT)
        other = names.setdefault(place, name)
        if other != name:
            raise SchemaError(
                f"'{path}': '{other}' and '{name}' are the same machine, {place[0]} port "
                f"{place[1]}.",
                hint="leave one of them out.",
            )


def unread_folders(path: Path) -> list[Path]:
    """The folders beside an inventory in which Ansible looks for more variables."""
    return [
        folder for name in ("group_vars", "host_vars") if (folder := path.parent / name).is_dir()
    ]
