"""Host ranges of inventories: web[01:03] is web01, web02 and web03."""

import re
from collections.abc import Iterator

from edgetl.core.errors import SchemaError

MOST_HOSTS = 1000
_RANGE = re.compile(r"\[(\d+|[A-Za-z]):(\d+|[A-Za-z])(?::(\d+))?\]")


def expanded(pattern: str, where: str) -> list[str]:
    """The hosts of a pattern, which may have several ranges.

    Args:
        pattern: e.g. "web[01:03]", "db-[a:c]" or "node[0:10:2]"; the numbers' leading zeros are
            kept, and the last number is included.
        where: the place in the inventory, for messages.

    Raises SchemaError if a range is malformed, or there are more than 1,000 hosts.
    """
    hosts = [""]
    place = 0
    for found in _RANGE.finditer(pattern):
        between = pattern[place : found.start()]
        steps = list(_steps(found, where))
        if len(hosts) * len(steps) > MOST_HOSTS:
            raise SchemaError(f"{where}: '{pattern}' is more than {MOST_HOSTS} hosts.")
        hosts = [f"{host}{between}{step}" for host in hosts for step in steps]
        place = found.end()
    rest = pattern[place:]
    if "[" in rest or "]" in rest:
        raise SchemaError(
            f"{where}: '{pattern}' has a range that cannot be read.",
            hint="e.g. web[01:03] or db-[a:c].",
        )
    return [host + rest for host in hosts]


def _steps(found: re.Match[str], where: str) -> Iterator[str]:
    first, last, stride = found[1], found[2], int(found[3] or 1)
    numbers = first.isdigit()
    start, end = (
        (int(first), int(last)) if numbers and last.isdigit() else (ord(first[0]), ord(last[0]))
    )
    if numbers != last.isdigit() or start > end or stride < 1:
        raise SchemaError(
            f"{where}: '{found[0]}' is not a range.", hint="e.g. [01:03], [a:c] or [0:10:2]."
        )
    if (end - start) // stride >= MOST_HOSTS:
        raise SchemaError(f"{where}: '{found[0]}' is more than {MOST_HOSTS} hosts.")
    for value in range(start, end + 1, stride):
        yield str(value).zfill(len(first)) if numbers else chr(value)
