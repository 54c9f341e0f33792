"""The errors a user can act on. Anything else that escapes is a bug and keeps its traceback."""


class EdgetlError(Exception):
    """What is wrong with which thing, and what to do next.

    Attributes:
        hint: the next step, one or two sentences; empty where the message says it all.
        exit_code: what the command line exits with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DataError(EdgetlError):
    """A picture or a folder of pictures that cannot be used."""


class SchemaError(EdgetlError):
    """A recipe, manifest, checkpoint description or device profile that breaks its schema."""


class BundleError(EdgetlError):
    """A `model.edgetl` that is damaged, unsafe, or too new."""


class EngineError(EdgetlError):
    """An inference engine that is missing or cannot run the artifact."""


class WeightsError(EdgetlError):
    """Weights or a checkpoint that cannot be found, trusted, or fitted to the model."""


class GateMissedError(EdgetlError):
    """The work was done, but a promise (hash, parity, accuracy) does not hold."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """The first line of what a library said, or the error's kind where it said nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
