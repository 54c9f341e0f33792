"""Looking labelled pictures over before anything is trained on them."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgetl.core.errors import DataError, GateMissedError
from edgetl.core.progress import Progress
from edgetl.data.dataset import LabelledSource
from edgetl.data.duplicates import Seen, find_duplicates
from edgetl.data.findings import Case, CheckReport, ClassCount, Finding
from edgetl.data.fingerprints import fingerprint
from edgetl.data.reading import read_each
from edgetl.data.remarks import class_remarks, picture_remarks

_RANK = {"error": 0, "warning": 1, "note": 2}


def check_pictures(source: LabelledSource, name: str, progress: Progress) -> CheckReport:
    """Decode every picture once, at a small size, and report what is found.

    Keeps a few hundred bytes a picture. Raises DataError if no picture can be read.

    Args:
        source: the pictures.
        name: what to call them.
        progress: where to show how far it is.
    """
    begun = time.monotonic()
    seen, broken = _look(source, progress)
    if not seen:
        raise DataError(f"None of the {len(broken)} pictures in '{name}' can be read.")
    classes = _count(source, seen)
    findings = [_broken(broken), *class_remarks(classes), *find_duplicates(seen)]
    findings += picture_remarks(seen)
    sides = sorted(min(p.look.header.width_px, p.look.header.height_px) for p in seen)
    return CheckReport(
        data=name,
        pictures=len(seen) + len(broken),
        broken=len(broken),
        bytes=sum(picture.look.size_bytes for picture in seen),
        short_side_px=(sides[0], sides[len(sides) // 2], sides[-1]),
        classes=classes,
        findings=tuple(sorted((f for f in findings if f.count), key=lambda f: _RANK[f.severity])),
        seconds=round(time.monotonic() - begun, 3),
    )


def require_clean(report: CheckReport) -> None:
    """Raises GateMissedError if anything worse than a note was found."""
    counts = Counter(finding.severity for finding in report.findings)
    found = [
        f"{counts[severity]} kind{'s' if counts[severity] > 1 else ''} of {severity}"
        for severity in ("error", "warning")
        if counts[severity]
    ]
    if found:
        raise GateMissedError(
            f"'{report.data}' has {' and '.join(found)}.",
            hint="each finding says what to do about it.",
        )


def _look(source: LabelledSource, progress: Progress) -> tuple[list[Seen], list[Case]]:
    seen: list[Seen] = []
    broken: list[Case] = []
    total = sum(map(len, source.parts.values()))
    with progress.stage("looking", total, "pictures") as shown:
        for part, examples in source.parts.items():
            for example, look in read_each(examples, fingerprint):
                name = _name_below(example.path, source.base)
                if isinstance(look, DataError):
                    why = str(look).removeprefix(f"'{example.path}' ")
                    broken.append(Case(files=(name,), detail=why))
                else:
                    seen.append(Seen(name, source.labels[example.label], part, look))
                shown.advance()
    return seen, broken


def _broken(cases: Sequence[Case]) -> Finding:
    return Finding(
        kind="broken",
        severity="error",
        title="files that cannot be read as pictures",
        advice="restore or remove them; training would set them aside",
        count=len(cases),
        cases=tuple(cases),
    )


def _count(source: LabelledSource, seen: Sequence[Seen]) -> tuple[ClassCount, ...]:
    counts = Counter((picture.label, picture.part) for picture in seen)
    return tuple(
        ClassCount(label=label, pictures={part: counts[label, part] for part in source.parts})
        for label in source.labels
    )


def _name_below(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
