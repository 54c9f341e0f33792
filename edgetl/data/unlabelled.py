"""Pictures without labels, which training may see: never those that are validated or tested on."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from edgetl.core.errors import DataError
from edgetl.core.files import sha256_of
from edgetl.data.split import Parts, SplitFiles, Unlabelled
from edgetl.runtime.sources import pictures_in

_NAMED = 3


def add_unlabelled(
    parts: Parts,
    sources: Sequence[Path],
    say: Callable[[str], None] = lambda _: None,
    *,
    option: str = "--unlabelled",
) -> Parts:
    """Find the pictures of folders without labels and add them to the parts as `unlabelled`.

    Pictures are the same if their files have the same bytes. One that is a training picture, or
    that was found before, is left out.

    Args:
        parts: the data's, with all pictures that are trained on added.
        sources: folders, each with pictures at any depth.
        say: called with a sentence for each folder.
        option: what the user gave the folders with, for error messages.

    Raises DataError if a folder is missing, has no pictures or none that is new, or if a picture
    is also a validation or test picture: the network's scores on it would be too good.
    """
    if not sources:
        return parts
    found = {source: _pictures(source, option) for source in sources}
    held_out = [example.path for example in (*parts.val, *parts.test)]
    training = [example.path for example in parts.train]
    contents = content_names([*held_out, *training, *(p for each in found.values() for p in each)])
    _require_apart(found, {contents[path] for path in held_out}, contents, option)
    seen = {contents[path] for path in training}
    added = []
    for source, pictures in found.items():
        new = []
        for picture in pictures:
            if contents[picture] not in seen:
                seen.add(contents[picture])
                new.append(picture)
        if not new:
            raise DataError(
                f"Every picture of '{source}' is there already, in training or in another folder.",
                hint=f"leave {option} {source} away.",
            )
        repeated = len(pictures) - len(new)
        say(
            f"{source}: {_counted(len(new))} without labels"
            + (f"; left out: {repeated} that are there already" if repeated else "")
        )
        added.append(Unlabelled(source, tuple(new)))
    return parts._replace(unlabelled=tuple(added))


def resume_unlabelled(
    parts: Parts, split: SplitFiles, sources: Sequence[Path], *, option: str = "--unlabelled"
) -> Parts:
    """Add the unlabelled pictures that an interrupted run was begun with.

    Args:
        parts: the run's labelled pictures.
        split: the run's `splits.json`.
        sources: the folders that the user gives now.
        option: what the user gave the folders with, for error messages.

    Raises DataError if the run was begun with other folders, or a picture is no longer there.
    """
    if {str(source.resolve()) for source in sources} != set(split.unlabelled):
        begun = " ".join(f"{option} {source}" for source in split.unlabelled)
        raise DataError(
            f"The run was begun with other folders of {option}.",
            hint=f"resume it with {begun}." if begun else f"resume it without {option}.",
        )
    return parts._replace(unlabelled=tuple(_resolved(split)))


def content_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for the content of each file: two files have the same one if their bytes are the same.

    Only files of equal size are read. A file that cannot be read gets a name of its own: the error
    is reported when it is decoded.
    """
    sizes: dict[Path, int] = {}
    for path in dict.fromkeys(paths):
        with suppress(OSError):
            sizes[path] = path.stat().st_size
        sizes.setdefault(path, -1)
    files_of_size = Counter(sizes.values())
    return {
        path: _hash(path) if size >= 0 and files_of_size[size] > 1 else f"alone {path}"
        for path, size in sizes.items()
    }


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return f"unreadable {path}"


def _pictures(source: Path, option: str) -> list[Path]:
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise DataError(f"'{source}' {what}.", hint=f"{option} takes a folder of pictures.")
    pictures = pictures_in(source.resolve())
    if not pictures:
        raise DataError(
            f"'{source}' holds no pictures.", hint=f"put pictures into it, or leave {option} away."
        )
    return pictures


def _require_apart(
    found: dict[Path, list[Path]], held_out: set[str], contents: dict[Path, str], option: str
) -> None:
    """Raise DataError if a picture that is found is also held out."""
    for source, pictures in found.items():
        leaks = [picture for picture in pictures if contents[picture] in held_out]
        if leaks:
            raise DataError(
                f"{_counted(len(leaks))} of '{source}' are also validation or test pictures: "
                f"{few_named(leaks)}.",
                hint="training would see the pictures that it is scored on: remove them from the "
                f"folder of {option}.",
            )


def few_named(paths: Sequence[Path]) -> str:
    """The first few paths, and how many more there are."""
    names = ", ".join(f"'{path}'" for path in paths[:_NAMED])
    return names + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")


def _counted(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _resolved(split: SplitFiles) -> Iterable[Unlabelled]:
    root = Path(split.root)
    for source, names in split.unlabelled.items():
        pictures = tuple(root / name for name in names)
        for path in pictures:
            if not path.is_file():
                raise DataError(
                    f"'{path}' belongs to this run's data and is no longer there.",
                    hint="put the pictures back where they were, or fine-tune again.",
                )
        yield Unlabelled(Path(source), pictures)
