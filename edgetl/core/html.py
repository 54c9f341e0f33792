"""Pages in one file: their data, and the policy that lets them do nothing else."""

import base64
import hashlib
import re
from typing import Any

import msgspec

# What ends a script's element, and the line ends that JSON allows in a text and old JavaScript not.
_ESCAPED = "<>&\u2028\u2029"


def inline_hashes(page: str, element: str) -> str:
    """The sources of a page's inline scripts or styles, as a Content-Security-Policy names them.

    Args:
        page: the page; elements with attributes are left out.
        element: "script" or "style".
    """
    found = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
    digests = [hashlib.sha256(content.encode()).digest() for content in found]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def embedded_json(value: Any) -> str:
    """A value as JSON that can stand in a page's `<script type="application/json">`."""
    text = msgspec.json.encode(value).decode()
    for character in _ESCAPED:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
