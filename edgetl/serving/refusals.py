"""Requests that are refused, as the exception that endpoints raise."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from edgetl.core.schema import Frozen

# One second is many times what a picture takes.
RETRY_AFTER_S = 1


class Failure(Frozen, kw_only=True, frozen=True):
    """The answer to a request that was refused or failed.

    Attributes:
        error: what is wrong.
        hint: the next step; empty if the error is enough.
    """

    error: str
    hint: str = ""


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status code.
        failure: the answer's body.
        headers: headers to add to the answer.
    """

    def __init__(
        self, status: int, error: str, *, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.failure = Failure(error=error, hint=hint)
        self.headers = headers

    def response(self) -> Response:
        """The answer, as JSON."""
        return Response(
            msgspec.json.encode(self.failure),
            self.status,
            headers=self.headers,
            media_type="application/json",
        )


class OverloadedError(RefusedError):
    """A request for which there is no room at present: 503, with the seconds to wait.

    Attributes:
        reason: what is used up, as a metric's label: "queue", "memory" or "time".
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(503, error, headers={"retry-after": str(RETRY_AFTER_S)})
        self.reason = reason
