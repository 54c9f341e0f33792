"""The token that clients must send, from a file or the environment.

It is not an option of the command, because other users of the machine see those.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edgetl.core.errors import EdgetlError

TOKEN_VARIABLE = "EDGETL_TOKEN"
_FILE_BYTES = 4096  # more than the longest token
# What a bearer token may consist of (RFC 6750).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,1024}=*")


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token of a file, or else of $EDGETL_TOKEN; None if there is neither.

    Raises EdgetlError if the file cannot be read, or if the token is empty or no bearer token.
    """
    if file is None and TOKEN_VARIABLE not in environment:
        return None
    where = f"'{file}'" if file else f"${TOKEN_VARIABLE}"
    try:
        token = _first_bytes(file) if file else environment[TOKEN_VARIABLE]
    except OSError as error:
        raise EdgetlError(f"{where} cannot be read: {error.strerror or error}.") from error
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise EdgetlError(
            f"{where} holds no token.",
            hint="it consists of letters, digits and -._~+/, e.g. of `openssl rand -hex 32`.",
        )
    return token


def _first_bytes(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_FILE_BYTES).decode("latin-1")
