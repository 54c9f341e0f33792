"""`edgetl run`."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetl.cli.collecting import (
    COLLECT_OPTIONS,
    CollectOptions,
    collect_answer,
    collect_options,
    collecting,
)
from edgetl.cli.completion import names, nothing
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.hosts import HOST_OPTIONS, host_option
from edgetl.cli.options import POSITIVE, artifact_option, engine_option, threads_option
from edgetl.cli.run_output import STREAMED, JsonDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl.bundle.reports import Prediction
    from edgetl.capture.feeds import Feed, Pace
    from edgetl.remote.classifier import RemoteClassifier
    from edgetl.runtime.classifier import Classifier
    from edgetl.runtime.sources import Source

# A camera shows the same scene for hours.
_COLLECT_EVERY_S = 10.0


@click.command(
    "run",
    cls=SectionedCommand,
    sections={
        "Cameras, streams and folders": (
            "--watch", "--existing", "--every", "--max-fps", "--max-frames",
        ),
        "Keeping pictures": COLLECT_OPTIONS,
        "What runs": ("--engine", "--artifact", "--threads", *HOST_OPTIONS),
        "Output": ("--top", "--unknown", "--explain", "--format", "--json"),
    },
    epilog=examples(
        "edgetl run model.edgetl photo.jpg folder/ 'more/*.jpg'",
        "edgetl run model.edgetl photo.jpg --engine onnxruntime --json",
        "edgetl run model.edgetl camera:0 --every 2",
        "edgetl run model.edgetl http://camera/snapshot.jpg --every 60 --format csv",
        "edgetl run model.edgetl clip.mp4 --every 0.5 --format jsonl",
        "edgetl run model.edgetl --watch incoming/",
        "edgetl run model.edgetl folder/ --on pi@raspberrypi.local",
        "edgetl run model.edgetl camera:0 --collect kept/ --max-mb 200",
    ),
)  # fmt: skip
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, metavar="SOURCE...",
                shell_complete=names(nothing, or_file=True))  # fmt: skip
@click.option("--watch", type=click.Path(path_type=Path), default=None, metavar="DIR",
              help="Classify the pictures that arrive in DIR, until interrupted.")  # fmt: skip
@click.option("--existing", is_flag=True,
              help="With --watch: classify what is in DIR already, too.")  # fmt: skip
@click.option("--every", type=POSITIVE, default=None, metavar="S",
              help="One frame each S seconds; fetch a URL's picture so often.")  # fmt: skip
@click.option("--max-fps", type=POSITIVE, default=None, metavar="N",
              help="At most N frames a second.")  # fmt: skip
@click.option("--max-frames", type=click.IntRange(1), default=None, metavar="N",
              help="End after N answers.")  # fmt: skip
@collect_options("Of a camera, stream or video, keep one picture for each reason in S seconds.  "
                 f"[default: {_COLLECT_EVERY_S:g}]")  # fmt: skip
@engine_option("The engine: a name, optionally with a provider (onnxruntime:cuda), or auto.")
@artifact_option("The artifact, e.g. onnx-int8.  [default: int8 if the bundle has it]")
@threads_option("as tuned, else the device profile's, else one per core")
@host_option("On another machine, over SSH: user@host, or a name of ~/.ssh/config.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, metavar="K",
              help="How many labels to print for each picture.")  # fmt: skip
@click.option("--unknown", is_flag=True,
              help='Answer "unknown" to pictures unlike the training classes.')  # fmt: skip
@click.option(
    "--explain",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Draw which parts of each picture speak for its label, as DIR/NAME.heatmap.jpg.",
)
@click.option("--format", "format_", type=click.Choice(list(STREAMED)), default="text",
              show_default=True, help="What is printed for each picture, as it comes.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    bundle: Path,
    sources: tuple[str, ...],
    watch: Path | None,
    existing: bool,
    every: float | None,
    max_fps: float | None,
    max_frames: int | None,
    engine: str,
    artifact: str | None,
    threads: int | None,
    place: str | None,
    ssh_config: Path | None,
    top: int,
    unknown: bool,
    explain: Path | None,
    format_: str,
    as_json: bool,
    **collection: Any,
) -> None:
    """Classify pictures with a BUNDLE.

    SOURCE is a picture, a folder, a glob in quotes, a video, or - for standard input: a picture, or
    JPEGs one after another. It is a camera as camera:0, /dev/video0 or picamera2, an
    http(s):// snapshot or MJPEG stream, or an rtsp:// stream.

    Of cameras and streams the newest frame is classified, and frames that come faster are dropped;
    of videos and standard input every frame is. They run until Ctrl-C, which ends them with exit
    code 0. A picture that cannot be read is named, and the exit code is 1 after all others.

    --explain needs a network that ends in pooling and a linear layer, as most do. It draws over the
    square that the network sees. --unknown needs a bundle with a rule for unknown pictures, which
    `edgetl export` has fitted.

    Other users of the machine see a command's arguments. So the address of a camera that has a
    password can be in the variable EDGETL_SOURCE, which is read if there is no SOURCE or --watch.

    --on sends pictures to another machine, which answers once it has them all.

    --collect keeps pictures for `edgetl review`, each with its answer, and counts for `edgetl
    drift`. A full disk does not end the run.
    """
    keep = CollectOptions(**collection)
    keep.check()
    sources = _sources(sources, watch)
    if existing and watch is None:
        raise click.UsageError("--existing belongs to --watch.")
    if as_json and format_ != "text":
        raise click.UsageError("--json and --format exclude each other.")

    from edgetl.bundle.archive import Bundle

    opened = Bundle(bundle, wait=False)  # its hashes are checked while the rest is imported

    from edgetl.capture.feeds import Pace
    from edgetl.cli.run_loop import RunLoop, Wanted
    from edgetl.runtime.classifier import Classifier
    from edgetl.runtime.heatmap import HeatmapFolder

    feeds = _feeds(sources, watch, existing, Pace(every, max_fps))
    _check_output(feeds, as_json, explain)

    def loop(
        classifier: "Classifier | RemoteClassifier",
        collect: "Callable[[Source, Prediction], None] | None" = None,
    ) -> RunLoop:
        make_output = JsonDocument if as_json else STREAMED[format_]
        return RunLoop(
            classifier,
            make_output(min(top, len(opened.manifest.labels))),
            Wanted(top, explain is not None, unknown),
            drawer=HeatmapFolder(explain, opened.manifest.preprocess) if explain else None,
            collect=collect,
            max_answers=max_frames,
        )

    if place:
        from edgetl.cli.hosts import session_on
        from edgetl.remote.classifier import RemoteClassifier

        _check_elsewhere(feeds, keep)
        with session_on(place, ssh_config) as session:
            loop(RemoteClassifier(session, opened, engine, artifact, threads)).run(feeds)
        return
    classifier = Classifier(opened, engine=engine, artifact=artifact, threads=threads)

    from edgetl.core.systemd import Systemd

    ready = partial(Systemd().ready, "classifying pictures")  # `edgetl deploy` makes it a service
    with collecting(classifier, keep, every_s=_COLLECT_EVERY_S) as collector:
        collect = partial(collect_answer, collector) if collector else None
        loop(classifier, collect).run(feeds, ready)


def _sources(given: tuple[str, ...], watch: Path | None) -> tuple[str, ...]:
    """What to classify besides --watch: what was given, else the source of the environment."""
    from edgetl.capture.open import SOURCE_VARIABLE

    if given or watch is not None:
        return given
    source = os.environ.get(SOURCE_VARIABLE)
    if not source:
        raise click.UsageError("Missing argument 'SOURCE...', or --watch DIR.")
    return (source,)


def _feeds(
    sources: "Sequence[str]", watch: Path | None, existing: bool, pace: "Pace"
) -> "list[Feed]":
    """What SOURCE and --watch stand for; the watched folder comes last."""
    from edgetl.capture.open import open_feeds
    from edgetl.cli.messages import print_warning

    feeds = open_feeds(sources, pace, print_warning)
    if pace.period_s and all(feed.count is not None for feed in feeds):
        raise click.UsageError("--every and --max-fps are for cameras, streams and videos.")
    if watch is None:
        return feeds
    if any(feed.endless for feed in feeds):
        raise click.UsageError("--watch and cameras or streams exclude each other.")

    from edgetl.capture.watch import WatchedFolder

    return [*feeds, WatchedFolder(watch, existing=existing, say=print_warning)]


def _check_output(feeds: "Sequence[Feed]", as_json: bool, explain: Path | None) -> None:
    if not any(feed.endless for feed in feeds):
        return
    if as_json:
        raise click.UsageError(
            "--json prints one document at the end, and this source has none; use --format jsonl."
        )
    if explain:
        raise click.UsageError(
            "--explain draws a file for each picture, and this source has no end."
        )


def _check_elsewhere(feeds: "Sequence[Feed]", keep: CollectOptions) -> None:
    if any(feed.endless for feed in feeds):
        raise click.UsageError(
            "--on sends pictures; a camera or stream is classified where it is, with edgetl there."
        )
    if keep.collect:
        raise click.UsageError("--collect and --on exclude each other.")
