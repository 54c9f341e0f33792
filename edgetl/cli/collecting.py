"""The options of `run` and `serve` that keep pictures, and what these commands say about them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edgetl.cli.options import POSITIVE, Decorator, FiniteRange

if TYPE_CHECKING:
    from edgetl.bundle.reports import Prediction
    from edgetl.collection.choosing import Scene
    from edgetl.collection.collector import Collector
    from edgetl.runtime.classifier import Classifier
    from edgetl.runtime.sources import Source

COLLECT_OPTIONS = ("--collect", "--max-mb", "--collect-below", "--collect-share", "--collect-every")
_MAX_MB, _BELOW, _SHARE = 500.0, 0.8, 0.01
_FRACTION = FiniteRange(0, 1)


class CollectOptions(NamedTuple):
    """The values of `collect_options`; None: not given."""

    collect: Path | None
    max_mb: float | None
    collect_below: float | None
    collect_share: float | None
    collect_every: float | None

    def check(self) -> None:
        """Raise UsageError if an option is given that has no effect."""
        for option, value in zip(COLLECT_OPTIONS, self, strict=True):
            if self.collect is None and value is not None:
                raise click.UsageError(f"{option} belongs to --collect.")


def collect_options(every: str) -> Decorator:
    """Add the options of `CollectOptions`; `every` is the help of the last one."""
    each: tuple[tuple[str, str, Any, str], ...] = (
        ("--collect", "DIR", click.Path(path_type=Path),
         "Keep unknown, uncertain and a few other pictures in DIR, and count all answers there."),
        ("--max-mb", "MB", POSITIVE,
         "What the pictures may take; random ones go first, unknown ones last.  "
         f"[default: {_MAX_MB:g}]"),
        ("--collect-below", "P", _FRACTION,
         f"Keep pictures whose confidence is below P.  [default: {_BELOW}]"),
        ("--collect-share", "P", _FRACTION,
         f"Keep this share of all pictures, at random.  [default: {_SHARE}]"),
        ("--collect-every", "S", FiniteRange(0), every),
    )  # fmt: skip

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, unit, kind, text in reversed(each):
            command = click.option(name, type=kind, metavar=unit, default=None, help=text)(command)
        return command

    return add


@contextmanager
def collecting(
    classifier: "Classifier", options: CollectOptions, *, every_s: float
) -> "Iterator[Collector | None]":
    """Collect, and say at the end what was kept; None without --collect.

    Args:
        classifier: what answers.
        options: the command's.
        every_s: the default of --collect-every, in seconds.

    Raises EdgetlError if the folder is a file, or another process collects into it.
    """
    if options.collect is None:
        yield None
        return
    from edgetl.cli.messages import print_warning
    from edgetl.cli.progress import make_progress
    from edgetl.collection.choosing import Rules
    from edgetl.collection.collector import Collector
    from edgetl.core.errors import EdgetlError

    if options.collect.exists() and not options.collect.is_dir():
        raise EdgetlError(
            f"'{options.collect}' is not a folder.", hint="name a folder; it is made if missing."
        )
    rules = Rules(
        below=_given(options.collect_below, _BELOW),
        share=_given(options.collect_share, _SHARE),
        every_s=_given(options.collect_every, every_s),
    )
    max_bytes = int(min(1e6 * _given(options.max_mb, _MAX_MB), 1e18))  # finite
    collector = Collector(options.collect, classifier, rules, max_bytes, print_warning)
    try:
        yield collector
    finally:
        collector.close()
        make_progress().say(_kept(collector, options.collect))


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _kept(collector: "Collector", folder: Path) -> str:
    """What was kept, e.g. "kept in field: 2 unknown, 0 uncertain, 1 random"."""
    counts = ", ".join(f"{count} {reason}" for reason, count in reversed(collector.kept.items()))
    lost = f"; could not be kept: {collector.lost}" if collector.lost else ""
    return f"kept in {folder}: {counts}{lost}"


def collect_answer(collector: "Collector", source: "Source", prediction: "Prediction") -> None:
    """Hand an answer of `edgetl run` over; only those to a live source may be lost."""
    from PIL import Image

    picture = Path(source.picture) if isinstance(source.picture, str) else source.picture
    assert isinstance(picture, Path | bytes | Image.Image)  # feeds have no open files
    collector.add(
        picture,
        prediction,
        scene=_scene(source),
        time=source.time,
        wait=source.time is None,
    )


def _scene(source: "Source") -> "Scene | None":
    from edgetl.collection.choosing import Scene, scene_now

    if isinstance(source.picture, str | Path):
        return None
    video, mark, at_s = source.name.rpartition("#t=")
    if source.time is None and mark:  # a video's frame, named by its time
        return Scene(video, float(at_s))
    return scene_now(source.name)
