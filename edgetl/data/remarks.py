"""Find pictures that are unusual, and classes with too few or very uneven numbers of pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgetl.data.dataset import GivenPart
from edgetl.data.duplicates import CheckedPicture
from edgetl.data.findings import Case, ClassCount, Finding, Severity
from edgetl.data.fingerprints import BLANK_CONTRAST, MIN_SIDE_PX

# A class with fewer pictures has at most four in the test part and one or two for validation.
FEW_PICTURES = 20
# Ratios of the largest to the smallest class from which uneven classes are a note or a warning.
UNEVEN_NOTE, UNEVEN_WARNING = 3.0, 10.0
# Ratio of the long to the short side; a centre crop keeps at most a third of such a picture.
ELONGATED = 3.0
_USUAL_MODES = ("RGB", "L")


def picture_remarks(pictures: Sequence[CheckedPicture]) -> list[Finding]:
    """Find pictures that are blank, small, elongated, turned by EXIF, or not 8-bit RGB or grey.

    Returns a finding for each of these, possibly without cases.
    """

    def remark(
        test: Callable[[CheckedPicture], bool], detail: Callable[[CheckedPicture], str]
    ) -> tuple[Case, ...]:
        return tuple(Case(files=(p.name,), detail=detail(p)) for p in pictures if test(p))

    blank = remark(
        lambda p: p.fingerprint.contrast < BLANK_CONTRAST,
        lambda p: f"contrast {p.fingerprint.contrast:.1f}",
    )
    small = remark(lambda p: min(_size(p)) < MIN_SIDE_PX, _size_text)
    elongated = remark(lambda p: max(_size(p)) >= ELONGATED * min(_size(p)), _size_text)
    turned = remark(
        lambda p: p.fingerprint.header.orientation != 1,
        lambda p: f"EXIF orientation {p.fingerprint.header.orientation}",
    )
    unusual = remark(
        lambda p: p.fingerprint.header.mode not in _USUAL_MODES, lambda p: p.fingerprint.header.mode
    )
    return [
        Finding(
            kind="blank", severity="warning", title="pictures of one even shade",
            advice="remove them, unless blank pictures are a class of their own",
            count=len(blank), cases=blank,
        ),
        Finding(
            kind="small", severity="note",
            title=f"pictures with a short side below {MIN_SIDE_PX} px",
            advice="networks take 128 to 224 px, so these are enlarged; use larger pictures or a "
            "smaller --image-size; they were not checked for near-duplicates",
            count=len(small), cases=small,
        ),
        Finding(
            kind="elongated", severity="note",
            title=f"pictures at least {ELONGATED:.0f} times as long as wide",
            advice="the network sees the central square only; crop them so that the object is in "
            "it",
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
            advice="edgetl converts them to RGB; check that colours and transparency come out "
            "right",
            count=len(unusual), cases=unusual,
        ),
    ]  # fmt: skip


def class_remarks(classes: Sequence[ClassCount]) -> list[Finding]:
    """Find classes that are missing from a part, have few pictures, or differ much in size.

    Returns a finding for each of these, possibly without cases; nothing if there are no classes.
    """
    if not classes:
        return []
    parts = classes[0].pictures
    learned: GivenPart = "all" if "all" in parts else "train"
    needed = 2 if learned == "all" else 1  # data that is not split: one to train on, one to test on
    sizes = {c.label: c.pictures[learned] for c in classes}
    missing = _missing(classes, [part for part in ("train", "val") if part in parts])
    unmeasured = _missing(classes, ["test"] if "test" in parts else [])
    # Data with a training part: a class without training pictures is already in `missing`.
    lacking = _cases(_counted(sizes, lambda n: n < needed and (n > 0 or learned == "all")))
    few = _cases(_counted(sizes, lambda n: needed <= n < FEW_PICTURES))
    return [
        Finding(
            kind="missing-class", severity="error",
            title="classes without training or validation pictures",
            advice="move some pictures of the class into that part",
            count=len(missing), cases=missing,
        ),
        Finding(
            kind="missing-class", severity="warning", title="classes without test pictures",
            advice="move some pictures of the class into that part; its accuracy is not measured",
            count=len(unmeasured), cases=unmeasured,
        ),
        Finding(
            kind="tiny-class", severity="error",
            title=f"classes with fewer than {needed} pictures, which cannot be split",
            advice="add pictures or remove the class", count=len(lacking), cases=lacking,
        ),
        Finding(
            kind="tiny-class", severity="warning",
            title=f"classes with fewer than {FEW_PICTURES} pictures",
            advice="add pictures; accuracy measured on so few is unreliable",
            count=len(few), cases=few,
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
    # An empty class has a finding of its own.
    cases = (Case(detail=text),) if sizes[least] and ratio >= UNEVEN_NOTE else ()
    return Finding(
        kind="uneven-classes", severity=severity, title="uneven classes",
        advice="training gives rare classes more weight (finetune.imbalance); look at each "
        "class's accuracy, not only at top-1", count=len(cases), cases=cases,
    )  # fmt: skip


def _counted(sizes: Mapping[str, int], wanted: Callable[[int], bool]) -> Iterable[str]:
    return (f"'{label}' has {size}" for label, size in sizes.items() if wanted(size))


def _cases(details: Iterable[str]) -> tuple[Case, ...]:
    return tuple(Case(detail=detail) for detail in details)


def _size(picture: CheckedPicture) -> tuple[int, int]:
    return picture.fingerprint.header.width_px, picture.fingerprint.header.height_px


def _size_text(picture: CheckedPicture) -> str:
    return "{} x {} px".format(*_size(picture))
