"""How the benchmarks that run for hours speak and end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edgetl.core.errors import EdgetlError
from edgetl.core.progress import Silent


class Spoken(Silent):
    """Remarks on standard error."""

    def say(self, text: str) -> None:
        """One line."""
        print(text, file=sys.stderr, flush=True)


@contextmanager
def resumable() -> Iterator[None]:
    """End with one line after an error of edgetl or Ctrl-C. Raises SystemExit."""
    try:
        yield
    except EdgetlError as error:  # a set without classes, a setting that no recipe has
        raise SystemExit(f"{error} {error.hint or ''}".strip()) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped. What is done is kept; the same command goes on.") from None
