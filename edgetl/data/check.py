"""Check labelled pictures before training on them: unreadable files, duplicates, odd pictures."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgetl.core.errors import DataError, GateMissedError
from edgetl.core.progress import Progress
from edgetl.data.dataset import LabelledSource
from edgetl.data.duplicates import CheckedPicture, find_duplicates
from edgetl.data.findings import Case, CheckReport, ClassCount, Finding
from edgetl.data.fingerprints import fingerprint
from edgetl.data.reading import read_each
from edgetl.data.remarks import class_remarks, picture_remarks

_RANK = {"error": 0, "warning": 1, "note": 2}


def check_pictures(source: LabelledSource, name: str, progress: Progress) -> CheckReport:
    """Decode every picture once, at a small size, and report everything that looks wrong.

    Memory use is a few hundred bytes per picture.

    Args:
        source: the labelled pictures.
        name: the data set's name for the report and for messages.
        progress: where progress is shown.

    Raises DataError if no picture can be read.
    """
    begun = time.monotonic()
    pictures, broken = _read_all(source, progress)
    if not pictures:
        raise DataError(
            f"None of the {len(broken)} pictures in '{name}' can be read.",
            hint="check that the files are whole; JPEG, PNG, WebP, BMP, GIF and TIFF work.",
        )
    classes = _count(source, pictures)
    findings = [_broken(broken), *class_remarks(classes), *find_duplicates(pictures)]
    findings += picture_remarks(pictures)
    headers = [picture.fingerprint.header for picture in pictures]
    sides = sorted(min(header.width_px, header.height_px) for header in headers)
    return CheckReport(
        data=name,
        pictures=len(pictures) + len(broken),
        broken=len(broken),
        bytes=sum(picture.fingerprint.size_bytes for picture in pictures),
        short_side_px=(sides[0], sides[len(sides) // 2], sides[-1]),
        classes=classes,
        findings=tuple(sorted((f for f in findings if f.count), key=lambda f: _RANK[f.severity])),
        seconds=round(time.monotonic() - begun, 3),
    )


def require_clean(report: CheckReport) -> None:
    """Raise GateMissedError if the report has errors or warnings; notes are accepted."""
    counts = Counter(finding.severity for finding in report.findings)
    found = [
        f"{counts[severity]} kind{'s' if counts[severity] > 1 else ''} of {severity}"
        for severity in ("error", "warning")
        if counts[severity]
    ]
    if found:
        raise GateMissedError(
            f"'{report.data}' has {' and '.join(found)}.",
            hint="follow the advice in the report.",
        )


def _read_all(
    source: LabelledSource, progress: Progress
) -> tuple[list[CheckedPicture], list[Case]]:
    """Returns the pictures that can be read, and a case for each file that cannot."""
    pictures: list[CheckedPicture] = []
    broken: list[Case] = []
    total = sum(map(len, source.parts.values()))
    with progress.stage("checking", total, "pictures") as shown:
        for part, examples in source.parts.items():
            for example, read in read_each(examples, fingerprint):
                name = _relative_name(example.path, source.base)
                if isinstance(read, DataError):
                    reason = str(read).removeprefix(f"'{example.path}' ")
                    broken.append(Case(files=(name,), detail=reason))
                else:
                    label = source.labels[example.label]
                    pictures.append(CheckedPicture(name, label, part, read))
                shown.advance()
    return pictures, broken


def _broken(cases: Sequence[Case]) -> Finding:
    return Finding(
        kind="broken",
        severity="error",
        title="files that cannot be read as pictures",
        advice="restore or remove them; training would skip them",
        count=len(cases),
        cases=tuple(cases),
    )


def _count(source: LabelledSource, pictures: Sequence[CheckedPicture]) -> tuple[ClassCount, ...]:
    counts = Counter((picture.label, picture.part) for picture in pictures)
    return tuple(
        ClassCount(label=label, pictures={part: counts[label, part] for part in source.parts})
        for label in source.labels
    )


def _relative_name(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
