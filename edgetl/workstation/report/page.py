"""Renders the page from its sections."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import jinja2

import edgetl
from edgetl.bundle.manifest import Manifest
from edgetl.data.findings import CheckReport
from edgetl.evaluation.corruptions import SEVERITIES, mean_top1
from edgetl.workstation.report.sections import Section, comparison_charts
from edgetl.workstation.report.sources import TORCH, Pictures


def templates(*, autoescape: bool) -> jinja2.Environment:
    """The templates of the page and of the model card; a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render_page(
    sections: Sequence[Section],
    pictures: Pictures | None,
    checked: CheckReport | None,
    notes: Sequence[str],
) -> str:
    """Render the page: one HTML document without any address outside of it."""
    environment = templates(autoescape=True)
    environment.filters["percent"] = lambda share: "-" if share is None else f"{100 * share:.1f}"
    environment.filters["number"] = lambda value, digits=2: (
        "-" if value is None else f"{value:.{digits}f}"
    )
    return environment.get_template("report.html.j2").render(
        sections=sections,
        pictures=pictures,
        comparison=comparison_charts(sections) if len(sections) > 1 else {},
        checked=checked,
        severities=SEVERITIES,
        mean_top1=mean_top1,
        notes=notes,
        verdict=verdict,
        provenance=_provenance,
        version=edgetl.__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def verdict(section: Section) -> str:
    """One sentence about a run or bundle: size, accuracy, loss, speed, where it was right."""
    row = next((row for row in section.rows if row.chosen), None)
    if row is None:
        return "No model of it could be run here."
    said = []
    if row.megabytes is not None:
        said.append(f"{row.megabytes:.1f} MB")
    if row.top1 is not None:
        said.append(f"{100 * row.top1:.1f} % right")
    elif row.agreement is not None:
        said.append(f"agrees with torch on {100 * row.agreement:.1f} %")
    if row.drop_pp is not None and row.name not in (TORCH, section.reference):
        than = "torch" if TORCH in (section.reference or TORCH) else section.reference
        if abs(row.drop_pp) < 0.05:
            said.append(f"as accurate as {than}")
        else:
            side = "below" if row.drop_pp > 0 else "above"
            said.append(f"{abs(row.drop_pp):.1f} points {side} {than}")
    if row.p50_ms is not None and section.timed:
        said.append(f"{row.p50_ms:.1f} ms on {section.timed.host.cpu}")
    text = f"{row.name}: {', '.join(said)}"
    boards = [
        f"{v.status} on {'an emulated ' if v.emulated else ''}{v.board}"
        for v in (section.source.manifest.verdicts if section.source.manifest else ())
        if v.artifact == row.name
    ]
    return "; ".join([text, *dict.fromkeys(boards)]) + "."


def _provenance(manifest: Manifest) -> list[tuple[str, str]]:
    made = manifest.provenance
    lines = [
        ("backbone", f"{made.backbone}, from {made.weights}"),
        ("trained on", f"{made.training_images} pictures of '{made.data}'"),
        ("calibration pictures", str(made.calibration_images)),
        ("made", f"{made.created} by edgetl {made.edgetl}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
    ]
    if manifest.target:
        lines.append(("made for", manifest.target.device))
    return lines
