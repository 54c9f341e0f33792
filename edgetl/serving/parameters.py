"""The options of a prediction, in the query of its address."""

from typing import NamedTuple
from urllib.parse import parse_qsl

from edgetl.core.schema import unknown_choice_hint
from edgetl.serving.refusals import RefusedError

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
DEFAULT_TOP = 5
MAX_TOP = 1000


class Parameters(NamedTuple):
    """The options of a prediction.

    Attributes:
        top: how many classes to report, 1 to 1,000.
        explain: whether to add a heatmap.
    """

    top: int = DEFAULT_TOP
    explain: bool = False


def read_parameters(query: bytes, *, explains: bool) -> Parameters:
    """Read the options of a query, e.g. b"top=3&explain=true".

    Args:
        query: as in the address.
        explains: whether the bundle has what heatmaps are made from.

    Raises RefusedError, naming the parameter, if one is not known, is given twice or has a wrong
    value.
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in given:
            raise RefusedError(400, f"The parameter '{name}' is given twice.")
        if name not in Parameters._fields:
            hint = unknown_choice_hint(name, Parameters._fields)
            raise RefusedError(400, f"There is no parameter '{name}'.", hint=hint)
        given[name] = value
    parameters = Parameters(_top(given.get("top")), _explain(given.get("explain")))
    if parameters.explain and not explains:
        raise RefusedError(
            400,
            "explain: this artifact has no feature map, which heatmaps are made from.",
            hint="export again with --explain-output.",
        )
    return parameters


def _top(value: str | None) -> int:
    if value is None:
        return DEFAULT_TOP
    top = int(value) if value.isascii() and value.isdecimal() and len(value) <= 4 else 0
    if not 1 <= top <= MAX_TOP:
        raise RefusedError(400, f"top: '{value}' is not a number from 1 to {MAX_TOP:,}.")
    return top


def _explain(value: str | None) -> bool:
    if value is None:
        return False
    if value not in _TRUTHS:
        raise RefusedError(400, f"explain: '{value}' is neither true nor false.")
    return _TRUTHS[value]
