"""A release on several hosts, stage by stage: a failure keeps it from the hosts of later stages."""

import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from edgetl.core.errors import SchemaError
from edgetl.core.progress import Progress
from edgetl.remote.address import Address
from edgetl.remote.commands import Session
from edgetl.remote.fleet import FleetOptions, Outcome, UntouchedError, on_hosts

T = TypeVar("T")

DEFAULT_STAGES = "1,10%,50%,100%"
_STAGE = re.compile(r"([1-9]\d{0,3})(%?)")


def parse_stages(text: str, hosts: int) -> list[int]:
    """How many hosts have the release after each stage, from e.g. "1,10%,100%".

    Args:
        text: numbers of hosts, or percentages of all, which are rounded up.
        hosts: how many there are.

    Returns rising numbers, of which the last is `hosts`. Raises SchemaError if the text is
    malformed, or the stages do not grow.
    """
    counts = []
    for word in text.split(","):
        found = _STAGE.fullmatch(word.strip())
        if not found or (found[2] and int(found[1]) > 100):
            raise SchemaError(f"'{word}' is not a stage.", hint=f"e.g. --stages {DEFAULT_STAGES}")
        number = int(found[1])
        counts.append(min(hosts, math.ceil(hosts * number / 100) if found[2] else number))
    if counts != sorted(counts):
        raise SchemaError(f"The stages '{text}' do not grow.", hint=f"e.g. {DEFAULT_STAGES}")
    return sorted({*counts, hosts})


def roll_out(
    addresses: Sequence[Address],
    stages: Sequence[int],
    work: Callable[[Session], T],
    options: FleetOptions,
    progress: Progress,
) -> list[Outcome[T]]:
    """Do some work on hosts, stage by stage, until one of a stage fails.

    Args:
        addresses: the hosts, in the order in which they come.
        stages: from `parse_stages`.
        work: called in a thread of its own for each host, with a session there.
        options: how the hosts of a stage are worked on.
        progress: where progress is shown.

    Returns an outcome for each host, in their order; hosts of later stages have UntouchedError.
    """
    outcomes: list[Outcome[T]] = []
    for end in stages:
        outcomes += on_hosts(addresses[len(outcomes) : end], work, options, progress)
        if any(one.error for one in outcomes):
            break
    later = addresses[len(outcomes) :]
    return [*outcomes, *(Outcome[T](address.name, None, UntouchedError()) for address in later)]
