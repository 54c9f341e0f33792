"""The errors a user can act on. Any other exception is a bug and keeps its traceback."""


class EdgetlError(Exception):
    """An error whose message says what is wrong, with a hint on what to do next.

    Attributes:
        hint: the next step, one or two sentences; empty if the message is enough.
        exit_code: the exit code of the command line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DataError(EdgetlError):
    """A picture or a folder of pictures that cannot be used."""


class SchemaError(EdgetlError):
    """A recipe, manifest, checkpoint description or device profile that violates its schema."""


class BundleError(EdgetlError):
    """A `model.edgetl` that is damaged, unsafe, or too new."""


class EngineError(EdgetlError):
    """An inference engine that is missing or cannot run the artifact."""


class WeightsError(EdgetlError):
    """Weights or a checkpoint that cannot be found, trusted or loaded into the model."""


class GateMissedError(EdgetlError):
    """The command ran to its end, but a check (hash, parity, accuracy) failed."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
