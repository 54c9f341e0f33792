"""`edgetl serve`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgetl.cli.collecting import COLLECT_OPTIONS, CollectOptions, collect_options, collecting
from edgetl.cli.help import SectionedCommand, examples
from edgetl.cli.messages import print_warning
from edgetl.cli.options import artifact_option, engine_option, threads_option
from edgetl.serving.libraries import require_serving
from edgetl.serving.limits import DEFAULT_LIMITS, Limits


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that set `Limits`."""
    n, whole, any_ = "N", click.IntRange, click.FloatRange
    default = DEFAULT_LIMITS
    each = (
        ("--queue", n, whole(1, 10_000), default.queue,
         "How many requests may wait; more are refused (503)."),
        ("--max-body-mb", "MB", any_(0.001, 1000), default.body_bytes / 1e6,
         "The size of a request's body."),
        ("--max-files", n, whole(1, 1000), default.files, "How many pictures a form may have."),
        ("--max-megapixels", "MP", any_(0.001, 178), default.pixels / 1e6,
         "Width times height of a picture."),
        ("--connections", n, whole(1, 10_000), default.connections,
         "How many connections may be open."),
        ("--body-timeout", "S", any_(0.1, 3600), default.body_s,
         "Seconds for a client to send a request's body."),
        ("--stop-timeout", "S", whole(0, 3600), default.shutdown_s,
         "Seconds to answer what was received when the server is stopped."),
    )  # fmt: skip
    for name, unit, kind, value, text in reversed(each):
        option = click.option(
            name, type=kind, metavar=unit, default=value, show_default=True, help=text
        )
        command = option(command)
    return command


@click.command(
    "serve",
    cls=SectionedCommand,
    sections={
        "What runs": ("--engine", "--artifact", "--threads", "--no-unknown"),
        "Keeping pictures": COLLECT_OPTIONS,
        "Address": ("--host", "--port", "--allow-host", "--token-file"),
        "Limits": (
            "--queue",
            "--max-body-mb",
            "--max-files",
            "--max-megapixels",
            "--connections",
            "--body-timeout",
            "--stop-timeout",
        ),
    },
    epilog=examples(
        "edgetl serve model.edgetl",
        "edgetl serve model.edgetl --host 0.0.0.0 --token-file token.txt",
        "edgetl serve model.edgetl --collect kept/ --max-mb 2000",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@engine_option("The engine: a name, optionally with a provider (onnxruntime:cuda), or auto.")
@artifact_option("The artifact, e.g. onnx-int8.  [default: int8 if the bundle has it]")
@threads_option("as tuned, else the device profile's, else one per core")
@click.option(
    "--no-unknown",
    is_flag=True,
    help="Name a class for every picture, also where the bundle has a rule for pictures "
    "that are unlike the training classes.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address to listen on; 0.0.0.0 is every address of this machine.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Another name of this server, e.g. behind a proxy; can be repeated.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Require the token in this file, as 'Authorization: Bearer TOKEN'.  "
    "[default: $EDGETL_TOKEN, else none]",
)
@_limit_options
@collect_options("Keep one picture for each reason in S seconds.  [default: 0]")
def command(
    bundle: Path,
    engine: str,
    artifact: str | None,
    threads: int | None,
    no_unknown: bool,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    token_file: Path | None,
    queue: int,
    max_body_mb: float,
    max_files: int,
    max_megapixels: float,
    connections: int,
    body_timeout: float,
    stop_timeout: int,
    **collection: Any,
) -> None:
    """Answer pictures over HTTP with a BUNDLE.

    The address in a browser shows a page for pictures and the webcam; /docs describes the API.
    Ctrl-C and SIGTERM stop the server after it has answered what it has received.

    --collect keeps pictures for `edgetl review`, each with its answer, and counts for `edgetl
    drift`, which /metrics then has for today. Tell those who send pictures.
    """
    keep = CollectOptions(**collection)
    keep.check()
    require_serving()

    from edgetl.bundle.archive import Bundle
    from edgetl.cli.progress import make_progress
    from edgetl.serving.address import address_of, allowed_hosts, is_loopback, listen
    from edgetl.serving.token import read_token

    token = read_token(token_file)
    with listen(host, port) as listener:  # a port in use is an error before anything is loaded
        opened = Bundle(bundle, wait=False)
        if token is None and not is_loopback(listener):
            print_warning(
                f"everyone who can reach {host} can use this server; --token-file FILE protects it."
            )

        from edgetl.runtime.classifier import Classifier
        from edgetl.serving.app import make_app
        from edgetl.serving.collecting import CollectingObserver, CollectionMetrics
        from edgetl.serving.server import run

        limits = Limits(
            queue=queue,
            body_bytes=int(max_body_mb * 1e6),
            files=max_files,
            pixels=int(max_megapixels * 1e6),
            connections=connections,
            body_s=body_timeout,
            shutdown_s=stop_timeout,
        )
        classifier = Classifier(opened, engine=engine, artifact=artifact, threads=threads)
        runs = f"{classifier.artifact.name} through {classifier.engine_version}"
        ready = f"serving {bundle.name} ({runs}) on {address_of(listener)}"
        with collecting(classifier, keep, every_s=0.0) as collector:
            app = make_app(
                classifier,
                limits=limits,
                unknown=False if no_unknown else None,
                token=token,
                hosts=allowed_hosts(listener, allowed),
                observers=[CollectingObserver(collector)] if collector else [],
            )
            if collector:
                app.state.metrics.register(CollectionMetrics(collector, classifier))
            run(app, listener, limits, lambda: make_progress().say(ready))
