"""The version is written down in `edgetl/__init__.py`; what repeats it agrees
(the archives' metadata: tests/test_wheel.py; a bundle's provenance: tests/workstation/export)."""

import datetime
import re
from pathlib import Path

import yaml

from edgetl import __version__

ROOT = Path(__file__).resolve().parents[1]


def test_the_citation_has_the_changelogs_version_and_date() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\S+) \((.+)\)$", changelog, re.M)
    assert newest
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], newest[1]) == (__version__, __version__)
    if newest[2] == "unreleased":
        assert "date-released" not in citation
    else:
        assert citation["date-released"] == datetime.date.fromisoformat(newest[2])


def test_the_pages_name_the_wheel_that_is_made() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    assert set(re.findall(r"edgetl-([^-\s]+)-py3-none-any\.whl", text)) == {__version__}
