"""Pages with any number of classes and any class names."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("captum")

from edgetl.core.progress import Silent
from edgetl.data.folders import Example
from edgetl.workstation.report.page import render_page
from edgetl.workstation.report.scores import ReportModel, ReportSource
from edgetl.workstation.report.sections import make_section
from edgetl.workstation.report.sources import Pictures
from tests.browser import DESKTOP_PX, PHONE_PX, look_at, needs_chromium
from tests.making import PLAIN, write_class_folders

HOSTILE = (
    "<script>document.body.innerHTML = 'taken over'</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} & $x^2$",
    "🐝 bees 🐜",
    "a name with many spaces",
    "نحلة طنانة",
    "x" * 80,
    "$\\frac{1}{",
)


def numbered(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


def write_page(labels: Sequence[str], folder: Path, path: Path) -> Path:
    """A page on a model that is right on half of the pictures; each class has at least one."""
    root = write_class_folders(folder / "data", 4)
    files = sorted(root.rglob("*.png"))
    count = max(len(labels), len(files))
    examples = tuple(Example(files[i % len(files)], i % len(labels)) for i in range(count))
    calls = iter(range(count))

    def model(pixels: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(pixels), len(labels)), np.float32)
        for row in logits:
            i = next(calls)
            row[(i % len(labels) + i % 2) % len(labels)] = 3
        return logits

    source = ReportSource(
        title=labels[0], labels=tuple(labels), preprocess=PLAIN, examples=examples, base=root,
        models=(ReportModel("torch", "a model through torch", model, 1.0),),
    )  # fmt: skip
    section = make_section(source, None, [], Silent(), corruptions=False)
    pictures = Pictures(examples, tuple(labels), root, labels[-1])
    path.write_text(render_page([section], pictures, None, [labels[0]]))
    return path


@needs_chromium
@pytest.mark.parametrize(
    "labels",
    [HOSTILE[:2], HOSTILE, numbered(100), numbered(1000)],
    ids=["2", "hostile", "100", "1000"],
)
@pytest.mark.parametrize("width_px", [PHONE_PX, DESKTOP_PX])
def test_any_classes_fit_and_stay_text(
    labels: Sequence[str], width_px: int, tmp_path: Path
) -> None:
    page = write_page(labels, tmp_path, tmp_path / "page.html")
    assert page.stat().st_size < 5e6
    steps = """
    const heads = document.querySelectorAll("table.sortable")[1].tBodies[0].querySelectorAll("th");
    result = JSON.stringify([...heads].map((head) => head.textContent));
    """
    seen = look_at(page, width_px, tmp_path / "look", dark=False, steps=steps)
    assert seen.console == []
    assert not seen.scrolls
    assert seen.wide == []
    assert json.loads(seen.result) == list(labels)
