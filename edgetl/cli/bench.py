"""`edgetl bench`."""

from pathlib import Path

import click

from edgetl.core.reports import BenchReport


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("pictures", required=False, type=click.Path(path_type=Path))
@click.option("--engine", default="all", show_default=True, help="A name, auto, or all.")
@click.option("--artifact", default=None, help="Only this one, e.g. onnx-int8.")
@click.option("--threads", type=int, default=None, help="One per core if not given.")
@click.option("--calls", type=click.IntRange(200), default=200, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path, allow_dash=True), default=None,
              metavar="FILE", help="Write the report here too; - prints only it.")  # fmt: skip
def command(
    bundle: Path,
    pictures: Path | None,
    engine: str,
    artifact: str | None,
    threads: int | None,
    calls: int,
    json_file: Path | None,
) -> None:
    """Time a BUNDLE on this machine, with PICTURES for decode and end-to-end times."""
    from edgetl.bench.run import bench
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json
    from edgetl.core.bundle import Bundle
    from edgetl.core.files import require_writable, write_text
    from edgetl.core.schema import to_json
    from edgetl.runtime.sources import find_sources

    if json_file and str(json_file) != "-":
        require_writable(json_file)
    found = [Path(s.name) for s in find_sources([str(pictures)])] if pictures else []
    report = bench(
        Bundle(bundle),
        found,
        engine=engine,
        artifact=artifact,
        threads=threads,
        calls=calls,
        progress=make_progress(),
    )
    if json_file and str(json_file) == "-":
        print_json(report)
        return
    click.echo(text(report))
    if json_file:
        write_text(json_file, to_json(report))


def text(report: BenchReport) -> str:
    """The host's facts and a row for each artifact and engine."""
    from edgetl.cli.show import mb, ms, table

    host = report.host
    temperature = f"{host.temperature_c:.0f} C" if host.temperature_c is not None else "unknown"
    load = f"{host.load_1min:.2f}" if host.load_1min is not None else "unknown"
    facts = (
        f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 2**30:.1f} GiB, {host.system}, "
        f"Python {host.python}\n"
        f"instructions {' '.join(host.isa) or 'unknown'}; governor {host.governor}; "
        f"temperature {temperature}; load {load}"
    )
    rows = [
        (
            row.artifact,
            row.engine,
            str(row.threads),
            mb(row.bytes),
            ms(row.inference.p50_ms),
            ms(row.inference.p90_ms),
            ms(row.inference.p99_ms),
            ms(row.decode.p50_ms if row.decode else None),
            ms(row.preprocess.p50_ms if row.preprocess else None),
            ms(row.end_to_end.p50_ms if row.end_to_end else None),
            f"{row.cold_start_ms:.0f}",
            mb(row.peak_memory_bytes),
        )
        for row in report.rows
    ]
    header = (
        "artifact", "engine", "threads", "MB", "p50 ms", "p90 ms", "p99 ms",
        "decode ms", "resize ms", "picture to answer ms", "cold start ms", "peak MB",
    )  # fmt: skip
    return f"{facts}\n\n{table(header, rows)}"
