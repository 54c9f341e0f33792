"""A device profile: what is known of a board before anybody plugs it in."""

from typing import Literal

from edgetl.core.manifest import EngineName
from edgetl.core.schema import Frozen


class DeviceProfile(Frozen, kw_only=True, frozen=True):
    """The contents of `devices/*.yaml`.

    Attributes:
        engines: best first; `export --target` makes the formats these run.
        threads: a sensible default, at most `cores`.
        sources: where the facts come from.
    """

    name: str
    description: str
    processor: str
    isa: Literal["x86-64", "aarch64", "armv7"]
    cores: int
    memory_mb: int
    python: str
    engines: tuple[EngineName, ...]
    threads: int
    int8_advice: str
    sources: tuple[str, ...]
