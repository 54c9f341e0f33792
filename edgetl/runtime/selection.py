"""The choice of the artifact and engine with which to run a bundle on this machine."""

from collections.abc import Iterator
from typing import NamedTuple

from edgetl.bundle.manifest import Artifact, Manifest, Scheme
from edgetl.core.errors import EngineError
from edgetl.core.schema import unknown_choice_hint
from edgetl.runtime.engines.registry import (
    ENGINES,
    engine_spec,
    installed,
    missing_engine,
    no_engine_for,
)
from edgetl.runtime.engines.spec import EngineSpec
from edgetl.runtime.processor import instruction_set, this_machine

# What to run if the user names no artifact, best first.
PREFERRED_SCHEMES: tuple[Scheme, ...] = ("int8", "int8-mixed", "fp32", "fp16")


class Choice(NamedTuple):
    """An artifact, the engine that runs it, and the provider on which the engine computes."""

    engine: str
    artifact: Artifact
    provider: str = "cpu"


def engine_and_provider(text: str) -> tuple[str, str]:
    """Split e.g. "litert" or "onnxruntime:cuda" into an engine's name and a provider.

    The default is the engine's first provider. Raises EngineError that lists the choices if there
    is no such engine or provider.
    """
    name, _, provider = text.partition(":")
    known = engine_spec(name).providers
    if provider and provider not in known:
        raise EngineError(
            f"Engine '{name}' has no provider '{provider}'.",
            hint=unknown_choice_hint(provider, known),
        )
    return name, provider or known[0]


def choose(manifest: Manifest, engine: str = "auto", artifact: str | None = None) -> Choice:
    """Choose the artifact, engine and provider to run.

    Args:
        manifest: the bundle's manifest.
        engine: an engine's name, with a provider if it is not the default one; or "auto": the
            installed engines in the order of `preferred_engines`.
        artifact: e.g. "onnx-int8"; None: the first of `PREFERRED_SCHEMES`.

    Choices whose outputs are known to be wrong on this machine are skipped (see `reason_against`).
    Raises EngineError if no choice is left, saying what to install.
    """
    fitting = _fitting(manifest, engine, artifact)
    present = [choice for choice in fitting if installed(choice.engine)]
    if not present:
        engines = sorted({choice.engine for choice in fitting})
        hint = " or ".join(ENGINES[name].install_hint for name in engines)
        raise EngineError("No engine that fits is installed.", hint=hint)
    doubts = [reason_against(manifest, choice) for choice in present]
    trusted = [choice for choice, doubt in zip(present, doubts, strict=True) if not doubt]
    if not trusted:
        raise EngineError(
            doubts[0],
            hint="run another artifact or engine: edgetl verify shows which are right.",
        )
    return min(trusted, key=lambda c: PREFERRED_SCHEMES.index(c.artifact.scheme))


def choices_here(manifest: Manifest, engine: str, artifact: str | None) -> list[Choice]:
    """The choices that fit the arguments of `choose`, are installed and to be trusted here.

    In the order of the bundle's artifacts. Raises EngineError if none fits.
    """
    order = [a.name for a in manifest.artifacts]
    usable = [
        choice
        for choice in _fitting(manifest, engine, artifact)
        if installed(choice.engine) and not reason_against(manifest, choice)
    ]
    return sorted(usable, key=lambda choice: order.index(choice.artifact.name))


def _fitting(manifest: Manifest, engine: str, artifact: str | None) -> list[Choice]:
    """The choices that fit the arguments of `choose`, installed or not. Raises EngineError."""
    if engine == "auto":
        pairs = [(spec, spec.providers[0]) for spec in preferred_engines(manifest)]
    else:
        name, provider = engine_and_provider(engine)
        if not installed(name):
            raise missing_engine(ENGINES[name])
        pairs = [(ENGINES[name], provider)]
    fitting = [
        Choice(spec.name, candidate, provider)
        for spec, provider in pairs
        for candidate in manifest.artifacts
        if candidate.format == spec.format and artifact in (None, candidate.name)
    ]
    if fitting:
        return fitting
    unknown = sorted({a.format for a in manifest.artifacts} - set(_formats()))
    if unknown and engine == "auto":
        raise no_engine_for(unknown[0])
    raise EngineError(
        f"The bundle has nothing for engine '{engine}'"
        + (f" as '{artifact}'." if artifact else "."),
        hint="it holds: " + ", ".join(a.name for a in manifest.artifacts) + ".",
    )


def _formats() -> Iterator[str]:
    return (spec.format for spec in ENGINES.values())


def how_to_install(manifest: Manifest) -> str:
    """The command that installs the best engine for a bundle on this machine, for a hint."""
    formats = {artifact.format for artifact in manifest.artifacts}
    fitting = [spec for spec in preferred_engines(manifest) if spec.format in formats]
    return fitting[0].install_hint if fitting else no_engine_for(min(formats)).hint


def preferred_engines(manifest: Manifest) -> list[EngineSpec]:
    """The engines that may run a bundle, best first.

    If this may be the device that the bundle was made for, in the order of that device; otherwise
    by the engines' rank on this instruction set; unranked ones follow in the registry's order.
    Other packages are searched for engines only if edgetl's own cannot run every artifact.
    """
    own = ENGINES.own()
    isa = instruction_set()
    ranked = [spec for spec in own if isa in spec.rank]
    best = sorted(ranked, key=lambda spec: spec.rank[isa] if isa else 0)
    if manifest.target and matches_target(manifest):
        best = [ENGINES[name] for name in manifest.target.engines if name in ENGINES]
    own_formats = {spec.format for spec in own}
    covered = all(artifact.format in own_formats for artifact in manifest.artifacts)
    return list({s.name: s for s in (*best, *(own if covered else ENGINES.values()))}.values())


def matches_target(manifest: Manifest) -> bool:
    """Whether the bundle's target device has the same instruction set as this machine."""
    return manifest.target is not None and manifest.target.isa == instruction_set()


def reason_against(manifest: Manifest, choice: Choice) -> str:
    """Why a choice should not be run on this machine; "" if there is no reason."""
    return limits_here(choice) or _failed_on_the_target(manifest, choice)


def limits_here(choice: Choice) -> str:
    """Why an engine's outputs would be wrong on this machine; "" if no problem is known."""
    return ENGINES[choice.engine].limits(this_machine(), choice.artifact)


def _failed_on_the_target(manifest: Manifest, choice: Choice) -> str:
    """What failed with a choice on the bundle's target device; "" if nothing is recorded."""
    if not matches_target(manifest):
        return ""
    for verdict in manifest.verdicts:
        named = manifest.target and verdict.board == manifest.target.device
        same = (verdict.engine, verdict.artifact) == (choice.engine, choice.artifact.name)
        if named and same and verdict.status != "right":
            return (
                f"Engine '{choice.engine}' was {verdict.status} with '{verdict.artifact}' on "
                f"{verdict.board}."
            )
    return ""
