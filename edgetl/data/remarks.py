"""What is unusual about single pictures and about the classes' numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgetl.data.dataset import GivenPart
from edgetl.data.duplicates import Seen
from edgetl.data.findings import Case, ClassCount, Finding, Severity
from edgetl.data.fingerprints import BLANK_CONTRAST, LEAST_PX

# Fewer pictures than this leave one or two to choose the epoch by and four to measure on.
FEW_PICTURES = 20
# From these ratios of the largest to the smallest class on.
UNEVEN_NOTE, UNEVEN_WARNING = 3.0, 10.0
# A centre crop keeps a third of such a picture, or less.
ELONGATED = 3.0
_USUAL_MODES = ("RGB", "L")


def picture_remarks(seen: Sequence[Seen]) -> list[Finding]:
    """Pictures that show nothing, are small, elongated, turned by EXIF, or not 8-bit RGB."""

    def remark(test: Callable[[Seen], bool], detail: Callable[[Seen], str]) -> tuple[Case, ...]:
        return tuple(Case(files=(p.name,), detail=detail(p)) for p in seen if test(p))

    blank = remark(
        lambda p: p.look.contrast < BLANK_CONTRAST, lambda p: f"contrast {p.look.contrast:.1f}"
    )
    small = remark(lambda p: min(_size(p)) < LEAST_PX, _size_text)
    elongated = remark(lambda p: max(_size(p)) >= ELONGATED * min(_size(p)), _size_text)
    turned = remark(
        lambda p: p.look.header.orientation != 1,
        lambda p: f"EXIF orientation {p.look.header.orientation}",
    )
    unusual = remark(lambda p: p.look.header.mode not in _USUAL_MODES, lambda p: p.look.header.mode)
    return [
        Finding(
            kind="blank", severity="warning", title="pictures of one even shade",
            advice="remove them unless showing nothing is a class", count=len(blank), cases=blank,
        ),
        Finding(
            kind="small", severity="note",
            title=f"pictures with a short side below {LEAST_PX} px",
            advice="networks here take 128 to 224 px and would see them enlarged; take larger "
            "ones, or choose a smaller --image-size; near-duplicates are not looked for among them",
            count=len(small), cases=small,
        ),
        Finding(
            kind="elongated", severity="note",
            title=f"pictures at least {ELONGATED:.0f} times as long as wide",
            advice="only the middle square is looked at; cut them so that it shows the thing",
            count=len(elongated), cases=elongated,
        ),
        Finding(
            kind="turned", severity="note", title="pictures turned by their EXIF orientation",
            advice="edgetl turns them upright; other programs on the device may not",
            count=len(turned), cases=turned,
        ),
        Finding(
            kind="unusual-pixels", severity="note",
            title="pictures that are neither 8-bit RGB nor grey",
            advice="edgetl converts them; look whether colours and transparency come out right",
            count=len(unusual), cases=unusual,
        ),
    ]  # fmt: skip


def class_remarks(classes: Sequence[ClassCount]) -> list[Finding]:
    """Classes that lack a part, are too small, or of very uneven sizes."""
    if not classes:
        return []
    parts = classes[0].pictures
    learned: GivenPart = "all" if "all" in parts else "train"
    needed = 2 if learned == "all" else 1  # one to learn from, and one to test on
    sizes = {c.label: c.pictures[learned] for c in classes}
    missing = _missing(classes, [part for part in ("train", "val") if part in parts])
    unmeasured = _missing(classes, ["test"] if "test" in parts else [])
    # A class with nothing to learn from is told as missing, where there is a training part.
    lacking = _cases(_counted(sizes, lambda n: n < needed and (n > 0 or learned == "all")))
    few = _cases(_counted(sizes, lambda n: needed <= n < FEW_PICTURES))
    return [
        Finding(
            kind="missing-class", severity="error", title="classes that a part lacks",
            advice="move some pictures of the class there", count=len(missing), cases=missing,
        ),
        Finding(
            kind="missing-class", severity="warning", title="classes that are not measured",
            advice="move some pictures of the class there", count=len(unmeasured),
            cases=unmeasured,
        ),
        Finding(
            kind="tiny-class", severity="error",
            title=f"classes with fewer than {needed} pictures, which cannot be parted",
            advice="add pictures or remove the class", count=len(lacking), cases=lacking,
        ),
        Finding(
            kind="tiny-class", severity="warning",
            title=f"classes with fewer than {FEW_PICTURES} pictures",
            advice="add pictures; a score on so few says little", count=len(few), cases=few,
        ),
        _unevenness(sizes),
    ]  # fmt: skip


def _missing(classes: Sequence[ClassCount], parts: Sequence[str]) -> tuple[Case, ...]:
    return _cases(
        f"'{c.label}' has no {part} picture" for c in classes for part in parts
        if not c.pictures[part]
    )  # fmt: skip


def _unevenness(sizes: Mapping[str, int]) -> Finding:
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    ratio = sizes[most] / max(1, sizes[least])
    severity: Severity = "warning" if ratio >= UNEVEN_WARNING else "note"
    text = f"'{most}' has {sizes[most]}, '{least}' {sizes[least]}: {ratio:.1f} times as many"
    # An empty class is another finding.
    cases = (Case(detail=text),) if sizes[least] and ratio >= UNEVEN_NOTE else ()
    return Finding(
        kind="uneven-classes", severity=severity, title="uneven classes",
        advice="training weighs rare classes up (finetune.imbalance); look at each class's "
        "score, not at top-1 alone", count=len(cases), cases=cases,
    )  # fmt: skip


def _counted(sizes: Mapping[str, int], wanted: Callable[[int], bool]) -> Iterable[str]:
    return (f"'{label}' has {size}" for label, size in sizes.items() if wanted(size))


def _cases(details: Iterable[str]) -> tuple[Case, ...]:
    return tuple(Case(detail=detail) for detail in details)


def _size(picture: Seen) -> tuple[int, int]:
    return picture.look.header.width_px, picture.look.header.height_px


def _size_text(picture: Seen) -> str:
    return "{} x {} px".format(*_size(picture))
