"""The libraries that serving needs; checked before anything imports them."""

import importlib.util

from edgetl.core.errors import EdgetlError

SERVING = ("starlette", "uvicorn", "prometheus_client", "python_multipart")


def require_serving() -> None:
    """Raises EdgetlError that says what to install if a library is missing."""
    for library in SERVING:
        if importlib.util.find_spec(library) is None:
            raise EdgetlError(
                f"This needs '{library}', which is not installed here.",
                hint="pip install 'edgetl[serve]'",
            )
