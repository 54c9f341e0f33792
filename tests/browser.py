"""Looks at a page with headless Chromium."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

PHONE_PX, DESKTOP_PX = 390, 1280
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

# The page is measured inside a frame, because a window is never narrower than 500 pixels.
_FRAME = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<iframe src="measured.html" style="border: 0; width: {width}px; height: 800px"></iframe>
<script>
addEventListener("message", (event) => {{ document.title = JSON.stringify(event.data); }});
</script>"""
_MEASURE = """<script>addEventListener("load", () => {
  const root = document.documentElement, wide = [];
  for (const details of document.querySelectorAll("details")) details.open = true;
  {steps}
  for (const element of document.body.querySelectorAll("*"))
    if (!element.closest(".scroll") && element.getBoundingClientRect().right > innerWidth + 1)
      wide.push(element.tagName + " " + element.textContent.slice(0, 80));
  parent.postMessage({ width: innerWidth, scrolls: root.scrollWidth > innerWidth, wide,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: getComputedStyle(document.body).backgroundColor, result: String(result) }, "*");
});</script>"""


class Looked(NamedTuple):
    """What Chromium made of a page.

    Attributes:
        console: errors and warnings on the console.
        scrolls: whether the page is wider than the window.
        wide: elements that reach beyond the window, outside of boxes that scroll themselves.
        paper: the background's colour, e.g. "rgb(255, 255, 255)".
        result: what the test's own steps left in `result`.
    """

    console: list[str]
    scrolls: bool
    wide: list[str]
    paper: str
    result: str


def look_at(page: Path, width_px: int, folder: Path, *, dark: bool, steps: str = "") -> Looked:
    """Load a page in a window of this width; `steps` is JavaScript that may set `result`."""
    folder.mkdir(exist_ok=True)
    measure = _MEASURE.replace("{steps}", f"let result = ''; {steps}")
    (folder / "measured.html").write_text(page.read_text() + measure)
    (folder / "frame.html").write_text(_FRAME.format(width=width_px))
    ended = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width_px + 20},900",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom",
            (folder / "frame.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    title = re.search("<title>(.*?)</title>", ended.stdout)
    assert title, ended.stderr
    seen = json.loads(html.unescape(title[1]))
    assert (seen["width"], seen["dark"]) == (width_px, dark)
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return Looked(console, seen["scrolls"], seen["wide"], seen["paper"], seen["result"])
