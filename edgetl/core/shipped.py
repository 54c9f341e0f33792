"""The recipes and device profiles that come with edgetl."""

from pathlib import Path

from edgetl.core.errors import SchemaError
from edgetl.core.schema import unknown_choice_hint

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(kind: str) -> Path:
    """The folder of "recipes" or "devices": in an installed wheel, else in the checkout."""
    inside = _PACKAGE / "shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def shipped_names(kind: str) -> list[str]:
    """The names of the shipped "recipes" or "devices", sorted."""
    return sorted(path.stem for path in shipped_folder(kind).glob("*.yaml"))


def shipped_file(kind: str, name: str) -> Path:
    """The path of a shipped file. Raises SchemaError that lists the names if `name` is not one."""
    names = shipped_names(kind)
    if name not in names:
        raise SchemaError(
            f"There is no {kind.removesuffix('s')} '{name}'.", hint=unknown_choice_hint(name, names)
        )
    return shipped_folder(kind) / f"{name}.yaml"
