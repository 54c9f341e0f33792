"""The page to review pictures on: one file that does what it says and nothing else."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgetl.bundle.reports import LabelScore
from edgetl.collection.labels import BundleLabels, write_labels
from edgetl.collection.records import REASONS, read_contents
from edgetl.collection.review_page import write_page
from edgetl.collection.review_table import apply_table
from edgetl.collection.store import PictureStore
from edgetl.core.errors import DataError
from edgetl.core.progress import Silent
from tests.browser import DESKTOP_PX, PHONE_PX, Looked, look_at, needs_chromium
from tests.collection.making import DIGEST, answer, record
from tests.making import draw, encoded

HOSTILE = (
    "</script><script>document.title = 'taken over'</script>",
    "<img src=x onerror=\"document.title = 'taken over'\">",
    "=cmd()",
    "line\u2028end 'quoted' & \"double\"",
    "x" * 120,
    "نحلة",
)
SIX = ("ants", "bees", "flies", "moths", "wasps", "worms")


def collect(folder: Path, labels: Sequence[str], pictures: int = 6) -> Path:
    """A folder of pictures, whose answers are of the first two labels."""
    store = PictureStore(folder, 10**7)
    for number in range(pictures):
        content = encoded(draw("checks", number, 640, 400), "JPEG")
        scores = ((labels[0], 0.6), (labels[1], 0.3))
        top = tuple(LabelScore(label=label, probability=p) for label, p in scores)
        prediction = msgspec.structs.replace(
            answer(labels[0], 0.6, unknown=number % 3 == 0, distance=1.2, source=labels[0]), top=top
        )
        reason = REASONS[2 - number % 3]
        store.add(content, record(content, reason, number, prediction))
    store.close()
    write_labels(folder, BundleLabels(version=1, digest=DIGEST, name="m", labels=tuple(labels)))
    return folder


def make(folder: Path, out: Path, most: int = 200) -> Path:
    write_page(folder, read_contents(folder).pictures, out, Silent(), most=most)
    return out


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect(tmp_path_factory.mktemp("six") / "kept", SIX)


@pytest.fixture(scope="module")
def page(kept: Path) -> Path:
    return make(kept, kept.parent / "review.html")


def label_all(folder: Path, label: str) -> None:
    """Apply a table that gives each picture this label."""
    table = folder.with_suffix(".csv")
    names = [each.record.picture for each in read_contents(folder).pictures]
    table.write_text("picture,label\n" + "".join(f"{name},{label}\n" for name in names))
    apply_table(folder, table)


def data_of(page: Path) -> Any:
    found = re.search(
        '<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S
    )
    assert found
    return json.loads(found[1])


def permissive(page: Path, folder: Path) -> Path:
    """The page with a policy that lets the test's own script run."""
    folder.mkdir(exist_ok=True)
    copy = folder / "permissive.html"
    text, count = re.subn("script-src [^;]*;", "script-src 'unsafe-inline';", page.read_text())
    assert count == 1
    copy.write_text(text)
    return copy


def look(page: Path, folder: Path, steps: str = "", width_px: int = DESKTOP_PX) -> Looked:
    return look_at(permissive(page, folder), width_px, folder, dark=False, steps=steps)


def test_unknown_pictures_come_first_then_uncertain_ones_the_newest_first(page: Path) -> None:
    names = [picture["name"] for picture in data_of(page)["pictures"]]
    assert [(name.split("-")[1], name[9:13]) for name in names] == [
        ("unknown", "1203"), ("unknown", "1200"), ("uncertain", "1204"), ("uncertain", "1201"),
        ("random", "1205"), ("random", "1202"),
    ]  # fmt: skip


def test_its_size_is_bounded_and_it_says_how_many_are_left(kept: Path, tmp_path: Path) -> None:
    small = make(kept, tmp_path / "r.html", most=2)
    data = data_of(small)
    assert (len(data["pictures"]), data["left"]) == (2, 4)
    assert small.stat().st_size < 250_000


def test_it_allows_only_its_own_script_and_style(page: Path) -> None:
    text = page.read_text()
    policy = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy
    for element in ("script", "style"):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}';" in policy[1]
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    addresses = set(re.findall(r'(?:src|href)="([^"]{0,20})', text))
    assert all(address.startswith("data:") for address in addresses)
    outside = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert outside == {"http://www.w3.org/2000/svg"}  # SVG's name


@needs_chromium
@pytest.mark.parametrize(
    ("labels", "width_px", "dark"),
    [
        (SIX, PHONE_PX, False),
        (HOSTILE, PHONE_PX, True),
        (HOSTILE, DESKTOP_PX, False),
        (tuple(f"class {i}" for i in range(40)), DESKTOP_PX, True),
    ],
    ids=["few", "hostile", "hostile", "many"],
)
def test_it_fits_a_phone_and_a_desktop_with_any_labels(
    labels: tuple[str, ...], width_px: int, dark: bool, tmp_path: Path
) -> None:
    out = make(collect(tmp_path / "kept", labels), tmp_path / "r.html")
    steps = """
    choose(data.labels.at(-1));
    result = [chosen.size, document.title, $("answer").textContent].join("|");
    """
    seen = look_at(
        permissive(out, tmp_path / "l"), width_px, tmp_path / "l", dark=dark, steps=steps
    )
    assert seen.console == []
    assert not seen.scrolls
    assert seen.wide == []
    assert (seen.paper == "rgb(246, 248, 247)") != dark
    count, title, shown = seen.result.split("|", 2)
    assert (count, title) == ("1", "edgetl review")
    assert shown == "unknown"


@needs_chromium
def test_its_own_policy_lets_it_run_from_the_disk(
    page: Path, tmp_path: Path, screen: Callable[[Path], tuple[str, list[str]]]
) -> None:
    dom, console = screen(page)
    assert console == []
    assert "0 of 6 reviewed" in dom
    assert dom.count('aria-label="Picture ') == 6


@pytest.fixture
def screen(tmp_path: Path) -> Callable[[Path], tuple[str, list[str]]]:
    """Opens a page as it is; returns its document and what is on the console."""
    import os
    import subprocess

    from tests.browser import CHROMIUM

    def open_page(page: Path) -> tuple[str, list[str]]:
        ended = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
                "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=60, check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        return ended.stdout, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]

    return open_page


@needs_chromium
def test_keys_choose_move_and_take_back_and_the_choices_are_stored(
    page: Path, tmp_path: Path
) -> None:
    steps = """
    const press = (...names) => names.forEach((key) =>
      dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true })));
    press("2", "0");                   // the first shows bees, the second none of these
    const after = current;
    press("ArrowLeft", "ArrowLeft", "ArrowLeft", "Backspace");  // back to the first: taken back
    const left = current;
    press("s", "ArrowRight", "7", "6");        // there is no seventh class; the third shows worms
    const kept = JSON.parse(localStorage.getItem(data.key));
    result = JSON.stringify({ after, left, chosen: [...chosen.values()], kept: Object.values(kept),
      state: $("state").textContent, next: current });
    """
    result = json.loads(look(page, tmp_path, steps).result)
    assert (result["after"], result["left"], result["next"]) == (2, 0, 3)
    assert result["chosen"] == [None, "worms"]
    assert result["kept"] == [False, None, "worms"]  # the others were not touched
    assert result["state"] == "2 of 6 reviewed"


@needs_chromium
def test_choices_of_an_earlier_visit_are_there_again_for_the_same_pictures(
    page: Path, tmp_path: Path
) -> None:
    look(page, tmp_path, 'choose("moths");')
    again = look(page, tmp_path, "result = [...chosen.values()].join() + current;")
    assert again.result == "moths1"


@needs_chromium
def test_choices_of_an_earlier_visit_do_not_override_reviews_that_were_applied_since(
    tmp_path: Path,
) -> None:
    folder, out = collect(tmp_path / "kept", SIX), tmp_path / "r.html"
    look(make(folder, out), tmp_path / "look", 'choose("moths");')
    label_all(folder, "bees")
    write_page(folder, read_contents(folder).pictures, out, Silent(), most=9, reviewed=True)
    seen = look(out, tmp_path / "look", 'result = [...chosen.values()] + "|" + table();')
    labels, rows = seen.result.split("|")
    assert labels == ",".join(["bees"] * 6)
    assert rows == "\ufeffpicture,label\r\n"


@needs_chromium
def test_a_label_can_be_taken_back_after_it_was_applied(tmp_path: Path) -> None:
    folder = collect(tmp_path / "kept", SIX)
    out, table = make(folder, tmp_path / "r.html"), tmp_path / "labels.csv"
    seen = look(out, tmp_path / "look", 'choose("moths"); choose("bees"); result = table();')
    table.write_bytes(seen.result.encode())
    assert apply_table(folder, table) == (2, 0, 0, 0, 0)
    seen = look(out, tmp_path / "look", "show(0); clear(); result = table();")
    table.write_bytes(seen.result.encode())
    assert apply_table(folder, table) == (0, 0, 1, 1, 0)


@needs_chromium
def test_its_table_is_what_the_command_applies(tmp_path: Path) -> None:
    folder = collect(tmp_path / "kept", HOSTILE)
    out = make(folder, tmp_path / "r.html")
    steps = """
    for (const label of data.labels.slice(0, 4)) choose(label);
    choose(null);
    $("label").value = "a new, one";
    $("other").requestSubmit();
    result = JSON.stringify([table(), $("command").textContent]);
    """
    table, command = json.loads(look(out, tmp_path / "look", steps).result)
    assert "\r\n" in table and "'=cmd()" in table
    assert command == f"edgetl review '{folder}' --apply labels.csv --new-label 'a new, one'"
    file = tmp_path / "labels.csv"
    file.write_bytes(table.encode())
    with pytest.raises(DataError, match="do not know: 'a new, one'"):
        apply_table(folder, file)
    assert apply_table(folder, file, ["a new, one"]) == (5, 1, 0, 0, 0)
    by_name = {each.record.picture: each.record.review for each in read_contents(folder).pictures}
    shown = [by_name[picture["name"]] for picture in data_of(out)["pictures"]]
    assert [review.label if review else "" for review in shown] == [
        *HOSTILE[:4], None, "a new, one",
    ]  # fmt: skip


def test_a_picture_that_cannot_be_shown_is_named_and_left_out(kept: Path, tmp_path: Path) -> None:
    store = PictureStore(tmp_path / "kept", 10**6)
    for minute, content in enumerate((b"no picture", encoded(draw("slope", 1), "PNG"))):
        store.add(content, record(content, "unknown", minute))
    pictures = read_contents(tmp_path / "kept").pictures
    written = write_page(tmp_path / "kept", pictures, tmp_path / "r.html", Silent(), most=9)
    assert (written.shown, written.left) == (1, 0)
    assert "cannot be read as a picture" in written.problems[0]


def test_reviewed_pictures_are_shown_only_if_wanted(tmp_path: Path) -> None:
    folder = collect(tmp_path / "kept", SIX, pictures=2)
    label_all(folder, "bees")
    pictures = read_contents(folder).pictures
    with pytest.raises(DataError, match=r"All pictures of .* are reviewed"):
        write_page(folder, pictures, tmp_path / "r.html", Silent(), most=9)
    written = write_page(folder, pictures, tmp_path / "r.html", Silent(), most=9, reviewed=True)
    assert written.shown == 2
    assert [each["label"] for each in data_of(tmp_path / "r.html")["pictures"]] == ["bees"] * 2


@needs_chromium
def test_a_label_of_an_earlier_review_can_be_taken_back(tmp_path: Path) -> None:
    folder = collect(tmp_path / "kept", SIX, pictures=2)
    label_all(folder, "bees")
    pictures = read_contents(folder).pictures
    write_page(folder, pictures, tmp_path / "r.html", Silent(), most=9, reviewed=True)
    seen = look(tmp_path / "r.html", tmp_path / "look", "clear(); result = table();")
    table = tmp_path / "labels.csv"
    table.write_bytes(seen.result.encode())
    assert apply_table(folder, table) == (0, 0, 1, 0, 0)
