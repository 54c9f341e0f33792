"""`edgetl run`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgetl.bundle.reports import Prediction
from edgetl.cli.completion import names, nothing
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.options import artifact_option, engine_option, threads_option
from edgetl.core.errors import DataError

if TYPE_CHECKING:
    from edgetl.core.progress import Progress


@click.command(
    "run",
    cls=SectionedCommand,
    sections={
        "What runs": ("--engine", "--artifact", "--threads"),
        "Output": ("--top", "--explain", "--json"),
    },
    epilog=examples(
        "edgetl run model.edgetl photo.jpg folder/ 'more/*.jpg'",
        "edgetl run model.edgetl photo.jpg --engine onnxruntime --json",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...",
                shell_complete=names(nothing, or_file=True))  # fmt: skip
@engine_option("The engine: a name, optionally with a provider (onnxruntime:cuda), or auto.")
@artifact_option("The artifact, e.g. onnx-int8.  [default: int8 if the bundle has it]")
@threads_option("as tuned, else the device profile's, else one per core")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, metavar="K",
              help="How many labels to print for each picture.")  # fmt: skip
@click.option(
    "--explain",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Draw which parts of each picture speak for its label, as DIR/NAME.heatmap.jpg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    bundle: Path,
    sources: tuple[str, ...],
    engine: str,
    artifact: str | None,
    threads: int | None,
    top: int,
    explain: Path | None,
    as_json: bool,
) -> None:
    """Classify pictures with a BUNDLE.

    SOURCE is a picture, a folder, a glob in quotes, or - for a picture on standard input.

    --explain needs a bundle that was exported with --explain-output. It draws over the square that
    the network sees.
    """
    from edgetl.bundle.archive import Bundle
    from edgetl.cli.show import print_json

    opened = Bundle(bundle, wait=False)  # its hashes are checked while the rest is imported

    from edgetl.runtime.classifier import Classifier
    from edgetl.runtime.heatmap import HeatmapFolder
    from edgetl.runtime.sources import find_sources

    pictures = list(find_sources(sources))
    classifier = Classifier(opened, engine=engine, artifact=artifact, threads=threads)
    predictions = []
    drawer = HeatmapFolder(explain, classifier.preprocess) if explain else None
    stream = classifier.stream(pictures, top=top, explain=drawer is not None)
    with _progress(len(pictures), as_json).stage("classifying", len(pictures), "pictures") as shown:
        for source, prediction in zip(pictures, stream, strict=True):
            if isinstance(prediction, DataError):
                raise prediction
            if drawer:
                drawer.add(source, prediction)
            if as_json:
                predictions.append(prediction)
            else:
                click.echo(line(prediction))
            shown.advance()
    if as_json:
        print_json(predictions)


def _progress(pictures: int, as_json: bool) -> "Progress":
    """Shows progress only where the terminal does not show the predictions themselves."""
    if pictures == 1 or (sys.stdout.isatty() and not as_json):
        from edgetl.core.progress import Silent

        return Silent()
    from edgetl.cli.progress import make_progress

    return make_progress()


def line(answer: Prediction) -> str:
    """Format one prediction: its label, the next best labels and the time it took."""
    others = ", ".join(f"{s.label} {s.probability:.1%}" for s in answer.top[1:])
    total_ms = answer.decode_ms + answer.preprocess_ms + answer.inference_ms
    return (
        f"{answer.source}: {answer.label} {answer.probability:.1%}"
        + (f" ({others})" if others else "")
        + f"  {total_ms:.1f} ms"
    )
