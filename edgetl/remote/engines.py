"""Which engine suits another machine, and whether there is a package of it."""

from collections.abc import Collection, Iterable

from edgetl.devices.profile import DeviceProfile
from edgetl.remote.address import RemoteError
from edgetl.remote.facts import SystemFacts
from edgetl.runtime.engines.registry import ENGINES, engine_spec


def checked_engine(name: str, facts: SystemFacts, machine: str) -> str:
    """Return an engine's name without its provider, if it can be installed on a machine.

    Args:
        name: e.g. "litert" or "onnxruntime:cuda".
        facts: of the machine.
        machine: its name, for messages.

    Raises EngineError if there is no such engine, and RemoteError if edgetl has no extra for it or
    the machine's profile lists no package of it.
    """
    spec = engine_spec(name.partition(":")[0])
    if spec not in ENGINES.own():
        raise RemoteError(
            f"edgetl cannot install engine '{spec.name}', which another package adds.",
            hint="choose one of edgetl's own engines with --engine.",
        )
    packaged = packaged_engines(facts)
    if spec.name not in packaged:
        raise RemoteError(
            f"There is no package of engine '{spec.name}' for '{machine}': {_described(facts)}.",
            hint=_choices(packaged),
        )
    return spec.name


def best_engine(facts: SystemFacts, machine: str, formats: Collection[str] = ()) -> str:
    """The engine that suits a machine best.

    Args:
        facts: of the machine.
        machine: its name, for messages.
        formats: those of the bundle, one of which the engine runs. Empty: any.

    Raises RemoteError if there is none.
    """
    packaged = packaged_engines(facts)
    for name in packaged:
        if not formats or ENGINES[name].format in formats:
            return name
    runs = f" that runs {' or '.join(sorted(formats))}" if formats else ""
    raise RemoteError(
        f"There is no package of an engine{runs} for '{machine}': {_described(facts)}.",
        hint=f"{_choices(packaged)} Export the bundle for that machine: --target.",
    )


def packaged_engines(facts: SystemFacts) -> list[str]:
    """The engines for which there are packages for a machine, best first."""
    device = facts.recognised().device
    own, isa = ENGINES.own(), facts.isa()
    ranked = sorted(own, key=lambda spec: spec.rank.get(isa, len(own)) if isa else 0)
    order = [*(device.engines if device else ()), *(spec.name for spec in ranked)]
    version = ".".join(map(str, facts.version()))
    return [name for name in dict.fromkeys(order) if _packaged(device, name, version)]


def _packaged(device: DeviceProfile | None, engine: str, version: str) -> bool:
    """Whether a profile lists a package for a version of Python. Without a list: yes."""
    return not device or not device.wheels or version in device.wheels.get(engine, {})


def _choices(packaged: Iterable[str]) -> str:
    names = ", ".join(packaged)
    return f"there are packages of: {names}." if names else "use another Python there."


def _described(facts: SystemFacts) -> str:
    return f"{facts.kernel}, {facts.bits} bits, Python {facts.python}"
