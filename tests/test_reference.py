"""The reference that `make docs` makes of the code, and the site around it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import edgetl
from edgetl.bundle.manifest import Manifest
from edgetl.cli.main import COMMANDS
from edgetl.workstation.recipe import Recipe
from tools import docs_reference as reference

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "record", reference.all_records(Recipe, Manifest), ids=lambda record: record.__name__
)
def test_every_key_of_a_recipe_and_a_manifest_has_a_meaning(record: type) -> None:
    assert [key.name for key in reference.keys(record) if not key.meaning] == []


@pytest.mark.parametrize(
    "record",
    reference.all_records(Recipe, Manifest, *reference.RESULTS),
    ids=lambda record: record.__name__,
)
def test_a_docstring_describes_no_key_that_is_not_there(record: type) -> None:
    described = {name for names in reference.meanings(record) for name in names.split(", ")}
    assert {name for name in described if not name.endswith("*")} <= set(record.__struct_fields__)


def test_records_inside_records_are_found() -> None:
    names = {record.__name__ for record in reference.all_records(Recipe, Manifest)}
    assert {"FineTune", "Augment", "ClassDrop", "FeatureMap", "Twin", "Interval"} <= names


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("split.folds", "integer, 0 to 100 | `0` | 2 or more"),
        ("finetune.epochs", "integer, 0 to 100,000, or `auto` | `12` | 0 leaves"),
        ("finetune.layer_decay", "number, above 0, at most 1 | `1.0` | each"),
        ("head.hidden", "list (at most 8) of: integer, 1 to 16,384 | `[]` | widths"),
        ("augment", "[Augment](#augment), or `light`, `none`, `robust`, `strong` |  | the"),
    ],
)
def test_a_key_has_type_default_and_meaning(key: str, row: str) -> None:
    assert f"| `{key}` | {row}" in reference.recipe_page()


def test_keys_of_a_manifest_are_those_of_the_json() -> None:
    page = reference.manifest_page()
    assert "| `rungs` |" in page and "attempts" not in page
    assert "| `lost`, `won` | integer or null | `null` | number of pictures" in page


def test_each_backbones_weights_say_where_they_come_from() -> None:
    rows = {
        line.split("`")[1]: line for line in reference.choices_page().splitlines() if "`" in line
    }
    assert "(download)" in rows["mobilenet_v4"]
    assert "(registry wheel or download)" in rows["mobilenet_v2"]
    assert {"edge-default", "raspberry-pi-4", "litert", "tflite"} <= set(rows)


def test_every_command_has_its_help() -> None:
    page = reference.command_page()
    headings = set(re.findall(r"^#+ edgetl (.+)$", page, re.M))
    assert set(COMMANDS) | {"recipes show", "devices probe", "cache prune"} <= headings
    assert page.count("Usage: edgetl") == len(headings) + 1
    assert "--max-drop" in page


def test_every_name_of_the_api_is_on_its_page() -> None:
    page = reference.api_page()
    named = set(re.findall(r"heading: edgetl\.(\w+)$", page, re.M))
    assert named | {"__version__"} == set(edgetl.__all__)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_lists_and_tables_begin_after_an_empty_line(page: Path) -> None:
    # GitHub shows them without it, MkDocs as part of the paragraph before.
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip())]
    begin = re.compile(r"[-*] |1\. |\|")
    assert [b for b in blocks if not begin.match(b[0]) and any(map(begin.match, b[1:]))] == []


class Fetched(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        name = {"script": "src", "img": "src", "iframe": "src", "link": "href"}.get(tag)
        self.addresses += [value for key, value in attributes if key == name and value]


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `make docs`."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.slow
def test_the_site_has_every_page_and_fetches_nothing_from_elsewhere(website: Path) -> None:
    html = {page.relative_to(website).with_suffix(".md") for page in website.rglob("*.html")}
    docs = ROOT / "docs"
    assert {page.relative_to(docs) for page in docs.rglob("*.md")} <= html
    addresses = {a for page in website.rglob("*.html") for a in Fetched(page).addresses}
    assert any(address.endswith(".css") for address in addresses)
    assert {address for address in addresses if "//" in address} == set()


@pytest.mark.slow
def test_links_out_of_docs_lead_to_pages_of_the_site(website: Path) -> None:
    front = (website / "index.html").read_text()
    assert 'href="project/benchmarks.html"' in front
    assert 'href="decisions/index.html"' in front
    assert 'href="examples/quickstart.ipynb"' in front
    for page in ("commands", "recipe-keys", "manifest", "choices", "api"):
        assert f'<a href="reference/{page}.html">' in front
    assert 'href="../results.html"' in (website / "project" / "benchmarks.html").read_text()


@pytest.mark.slow
def test_the_api_page_has_signatures_and_arguments(website: Path) -> None:
    page = (website / "reference" / "api.html").read_text()
    for text in (
        "edgetl.finetune",
        "max_drop_pp",
        "the run folder; must not hold",
        "GateMissedError",
    ):
        assert text in page
