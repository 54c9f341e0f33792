"""Wheels of what is installed here: what a package registry would send, without a network."""

import importlib.metadata
import zipfile
from collections.abc import Iterator
from pathlib import Path

# What installers add to a package's files.
_ADDED = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def write_wheels(names: list[str], folder: Path) -> None:
    """Write a wheel of each package and of everything that it requires."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in _with_requirements(names):
        _write(package, folder)


def _with_requirements(names: list[str]) -> Iterator[importlib.metadata.Distribution]:
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        package = importlib.metadata.distribution(name)
        # None of these depends on the system; extras are not installed.
        required = [text for text in package.requires or [] if "extra ==" not in text]
        names += [_name_of(text) for text in required]
        yield package


def _name_of(requirement: str) -> str:
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return requirement[:end]


def _write(package: importlib.metadata.Distribution, folder: Path) -> None:
    about = next(p.parent.name for p in package.files or () if p.name == "METADATA")
    lines = (package.read_text("WHEEL") or "").splitlines()
    tags = [line.partition(": ")[2].split("-") for line in lines if line.startswith("Tag: ")]
    # E.g. py2-none-any and py3-none-any are py2.py3-none-any in a file's name.
    named = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    stem = about.removesuffix(".dist-info")
    with zipfile.ZipFile(folder / f"{stem}-{named}.whl", "w") as archive:
        for path in package.files or ():
            inside = not path.as_posix().startswith("..") and "__pycache__" not in path.parts
            if inside and path.name not in _ADDED:
                archive.write(str(path.locate()), path.as_posix())
        # pip needs the list of files; their hashes are optional.
        record = "".join(f"{name},,\n" for name in archive.namelist())
        archive.writestr(f"{about}/RECORD", f"{record}{about}/RECORD,,\n")
