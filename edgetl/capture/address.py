"""Addresses of network cameras, with user names and passwords that nothing may print."""

import re
import urllib.parse
from typing import NamedTuple

from edgetl.capture.feeds import CaptureError


class Address(NamedTuple):
    """A URL in parts.

    Attributes:
        plain: the URL without user name and password, to print and to request.
        user: the user name, decoded; None: the URL has none.
        password: decoded; empty if the URL has none.
    """

    plain: str
    user: str | None
    password: str


def read_address(url: str) -> Address:
    """Take a URL apart.

    Raises CaptureError, which does not repeat the URL, if it is none, or if a password may contain
    the character at which the host would end: what follows would be printed as a part of the name.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or re.search("[/?#].*@", url.partition("://")[2], re.DOTALL):
        raise CaptureError(
            "The address of a SOURCE cannot be read.",
            hint="write special characters of a user name, a password or a path as %23 (#), "
            "%2F (/), %3F (?), %40 (@), %5B ([) and %5D (]): USER:PASSWORD@CAMERA/PATH",
        )
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    user = None if parts.username is None else urllib.parse.unquote(parts.username)
    return Address(plain, user, urllib.parse.unquote(parts.password or ""))
