"""`edgetl doctor`."""

from collections import Counter
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option

if TYPE_CHECKING:
    from edgetl.cli.doctor_report import Cache, DoctorReport
    from edgetl.devices.engine_check import EngineCheck
    from edgetl.devices.gpu import Gpu

_SHOWN_PARTS = 3


@click.command("doctor", epilog=examples("edgetl doctor", "edgetl doctor --json > doctor.json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for a bug report.")
@wide_option
def command(as_json: bool) -> None:
    """Show what edgetl can do on this machine, and what is missing for the rest.

    Lists the processor's features, free memory and disk, GPUs and their driver, the cache, the
    engines that run here, and the libraries to train, export and report with.
    """
    from edgetl.cli.doctor_report import examine
    from edgetl.cli.progress import make_progress
    from edgetl.cli.show import print_json

    report = examine(make_progress())
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))


def _text(report: "DoctorReport") -> str:
    from edgetl.cli.show import paragraph, table

    facts = "\n".join(f"{name:<10} {text}" for name, text in _facts(report))
    rows = [*(_engine_row(check) for check in report.engines), *_library_rows(report)]
    parts = [
        paragraph(facts, indent=" " * 11),
        table(("what for", "state", "version, or what to do"), rows),
        *(paragraph(problem, indent="  ") for problem in report.problems),
    ]
    return "\n\n".join(parts)


def _facts(report: "DoctorReport") -> list[tuple[str, str]]:
    host, disk = report.host, report.disk
    without_gpu = report.torch_without_gpu
    gpus = Counter(map(_gpu, report.gpus)).items()
    return [
        ("edgetl", f"{report.edgetl}, Python {host.python}, {host.system}"),
        (
            "processor",
            f"{host.cpu}, {host.cores} cores: {' '.join(host.isa) or 'no features known'}",
        ),
        ("device", report.device or "no profile fits; see edgetl devices probe"),
        ("memory", f"{_gb(report.memory_free_bytes)} GB free of {_gb(host.memory_bytes)} GB"),
        ("disk", f"{_gb(disk.free_bytes)} GB free of {_gb(disk.total_bytes)} GB, for the cache"),
        *(("GPU", f"{f'{count} x ' if count > 1 else ''}{gpu}") for gpu, count in gpus),
        *([("", f"torch cannot use it: {without_gpu}")] if without_gpu else []),
        *([] if gpus else [("GPU", "no NVIDIA GPU, or no driver")]),
        ("cache", _cache(report.cache)),
    ]


def _cache(cache: "Cache") -> str:
    if cache.problem:
        return cache.problem
    largest = ", ".join(
        f"{part} {_gb(size)}" for part, size in list(cache.parts.items())[:_SHOWN_PARTS]
    )
    return f"{_gb(cache.bytes)} GB in {cache.folder}" + (f": {largest}" if largest else "")


def _gpu(gpu: "Gpu") -> str:
    return f"{gpu.name}, driver {gpu.driver or 'unknown'}, {_gb(gpu.memory_bytes)} GB"


def _engine_row(check: "EngineCheck") -> tuple[str, str, str]:
    text = check.detail
    if check.state == "runs":
        text = f"{check.version} on {', '.join(check.providers)}"
    elif check.state == "broken":
        text = f"{check.version}: {check.detail}"
    return f"engine {check.engine}", check.state, f"{text}; {check.limits}".removesuffix("; ")


def _library_rows(report: "DoctorReport") -> list[tuple[str, str, str]]:
    rows = []
    for purpose in dict.fromkeys(library.purpose for library in report.libraries):
        own = [library for library in report.libraries if library.purpose == purpose]
        missing = [library for library in own if library.version is None]
        if missing:
            names = ", ".join(library.library for library in missing)
            rows.append((purpose, "missing", f"{names}: {missing[0].to_install}"))
        else:
            versions = ", ".join(f"{library.library} {library.version}" for library in own)
            rows.append((purpose, "ready", versions))
    return rows


def _gb(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / 1e9:.1f}"
