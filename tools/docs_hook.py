"""MkDocs' hook: adds the reference, and the pages outside docs/ that others link to."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from docs_reference import pages  # MkDocs finds what lies beside a hook
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Files outside docs/ that are part of the site, and their place there.
BESIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "examples/quickstart.ipynb": "examples/quickstart.ipynb",
}
# A link to one of these leads to the page that is made of it.
MADE_OF = {
    "docs/decisions": "decisions/index.md",
    "edgetl/cli": "reference/commands.md",
    "edgetl/workstation/recipe.py": "reference/recipe-keys.md",
    "edgetl/bundle/manifest.py": "reference/manifest.md",
    "edgetl/__init__.py": "reference/api.md",
    "edgetl/core/shipped.py": "reference/choices.md",
}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    contents = pages() | {"decisions/index.md": list_of_decisions()}
    contents |= {place: (ROOT / name).read_text() for name, place in BESIDE.items()}
    for place, content in contents.items():
        files.append(File.generated(config, place, content=content))
    return files


def list_of_decisions() -> str:
    """The page that a link to the folder `docs/decisions` leads to."""
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = {path.name: path.read_text().splitlines()[0].lstrip("# ") for path in records}
    lines = [f"- [{title}]({name})\n" for name, title in titles.items()]
    return "# Design decisions\n\n" + "".join(lines)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site.

    A link to a file that is not in the site becomes its text.
    """
    place = page.file.src_uri
    origin = {there: name for name, there in BESIDE.items()}.get(place, f"docs/{place}")

    def relinked(link: re.Match[str]) -> str:
        text, name, anchor = link[1], link[2], link[3] or ""
        target = normpath(join(dirname(origin), name))
        if ":" in name or not (ROOT / target).exists():
            return link[0]
        there = place_of(target)
        return f"[{text}]({relpath(there, dirname(place))}{anchor})" if there else text

    return LINK.sub(relinked, markdown)


def place_of(name: str) -> str | None:
    """The place in the site of a file or folder of the repository; None if it is not in it."""
    own = name.removeprefix("docs/") if name.startswith("docs/") else None
    return {**BESIDE, **MADE_OF}.get(name, own)
