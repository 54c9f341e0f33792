"""The web pages as people use them, in Chromium with a made-up camera."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.bundle.reports import Heatmap
from edgetl.runtime.heatmap import draw_heatmap
from tests.browser import DESKTOP_PX, PHONE_PX, needs_chromium
from tests.devtools import Chromium, Page, chromium
from tests.making import draw
from tests.serving.running import Server, running, write_token

pytestmark = needs_chromium
ANSWERED = "document.querySelectorAll('#bars li').length == 3"
LOADED = "document.querySelector('#name').innerText == 'model.edgetl'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    # A name that is not this machine's own, so that its page is no secure context.
    resolves = "--host-resolver-rules=MAP board.test 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("home"), [resolves]) as browser:
        yield browser


@pytest.fixture(scope="module")
def locked(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the token "secret-1", also called board.test."""
    token = write_token(tmp_path_factory.mktemp("token"))
    options = ("--token-file", token, "--allow-host", "board.test")
    with running("edgetl", "serve", tiny_bundle, "--port", 0, *options) as server:
        yield server


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    draw("slope", 5, 400, 300).save(tmp_path / "slope.png")
    return tmp_path / "slope.png"


def open_page(browser: Chromium, server: Server, width_px: int = DESKTOP_PX, **look: bool) -> Page:
    page = browser.open(width_px, **look)
    page.go(f"http://127.0.0.1:{server.port}/")
    page.wait_for(LOADED)
    return page


def shown_bars(page: Page) -> list[tuple[str, float, float]]:
    """Each class's name, its percentage in words, and its bar's width in percent."""
    return [
        (name, float(text.split()[0]), width)
        for name, text, width in page.evaluate(
            "[...document.querySelectorAll('#bars li')].map((bar) => [bar.children[0].innerText,"
            " bar.children[1].innerText, parseFloat(bar.querySelector('b').style.width)])"
        )
    ]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width_px", [PHONE_PX, DESKTOP_PX])
def test_pages_fit_a_phone_and_a_desktop_in_light_and_dark(
    browser: Chromium, server: Server, picture: Path, width_px: int, dark: bool
) -> None:
    page = open_page(browser, server, width_px, dark=dark)
    page.pick("#file", picture)
    page.wait_for(ANSWERED)
    assert page.sticks_out() == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == dark
    page.go(f"http://127.0.0.1:{server.port}/docs")
    page.wait_for("document.querySelectorAll('section').length > 8")
    assert page.sticks_out() == []
    assert page.console() == []


@pytest.mark.parametrize("way", ["pick", "drop"])
def test_a_picture_is_answered_with_a_bar_for_each_class(
    browser: Chromium, server: Server, picture: Path, way: str
) -> None:
    page = open_page(browser, server)
    if way == "pick":
        page.pick("#file", picture)
    else:
        page.drop("#view", picture)
    page.wait_for(ANSWERED)
    answer = server.post(picture.read_bytes(), "?top=8").json
    expected = [(s["label"], round(100 * s["probability"], 1)) for s in answer["top"]]
    assert [(name, share) for name, share, _ in shown_bars(page)] == expected
    assert [width for _, _, width in shown_bars(page)] == [share for _, share in expected]
    assert page.text("#answer") == answer["label"]
    assert page.text("#heading") == "slope.png"
    assert page.text("#times").split("\n")[0] == "Decoding"
    assert page.evaluate("[$('canvas').width, $('canvas').height]") == [400, 300]


def test_the_camera_is_answered_until_it_is_stopped(browser: Chromium, server: Server) -> None:
    page = open_page(browser, server)
    page.click("#camera")
    page.wait_for(f"{ANSWERED} && $('times').innerText.includes('Pictures per second')")
    assert page.text("#camera") == "Stop the camera"
    before = server.metric('edgetl_requests_total{status="200"}')
    page.wait_for("performance.getEntriesByType('resource').length > 8")
    assert server.metric('edgetl_requests_total{status="200"}') > before
    page.click("#camera")
    assert page.text("#camera") == "Use the camera"
    assert page.evaluate("$('video').srcObject === null")
    assert page.console() == []


OPENED = """
window.opened = [];
const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await original(wanted);
  opened.push(stream);
  return stream;
};
window.tracks = () => opened.flatMap((one) => one.getTracks());
window.live = () => tracks().filter((track) => track.readyState == "live").length;
0
"""


def test_no_camera_stays_on_that_is_not_shown(
    browser: Chromium, server: Server, picture: Path
) -> None:
    page = open_page(browser, server)
    page.evaluate(OPENED)
    page.evaluate("($('camera').click(), $('camera').click(), 0)")  # before the first is allowed
    page.wait_for(f"opened.length == 2 && {ANSWERED}")
    assert page.evaluate("live()") == 1
    page.click("#camera")
    assert page.evaluate("live()") == 0
    page.evaluate("($('camera').click(), 0)")
    page.pick("#file", picture)
    page.wait_for("opened.length == 3 && $('heading').innerText == 'slope.png' && !live()")
    assert page.text("#camera") == "Use the camera"


def test_a_camera_that_ends_is_said_and_sends_nothing_more(
    browser: Chromium, server: Server
) -> None:
    page = open_page(browser, server)
    page.click("#camera")
    page.wait_for(ANSWERED)
    page.evaluate("(stream.getVideoTracks()[0].dispatchEvent(new Event('ended')), 0)")
    assert page.text("#problem") == "The camera has ended."
    assert page.text("#camera") == "Use the camera"
    assert page.evaluate("stream === null")


def test_it_can_be_used_with_the_keyboard(browser: Chromium, server: Server) -> None:
    page = open_page(browser, server)
    reached = []
    for _ in range(3):
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.href"))
    assert reached[:2] == ["file", "camera"]
    page.evaluate("$('camera').focus()")
    page.press("Enter")
    page.wait_for(ANSWERED)
    # What changes many times a second is not read out, only a new label now and then.
    assert page.evaluate("$('answer').getAttribute('aria-live')") == "off"
    page.wait_for("$('announcer').innerText == $('answer').innerText")


def test_everything_that_can_be_used_has_a_name(browser: Chromium, server: Server) -> None:
    page = open_page(browser, server)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    usable = [
        node for node in nodes
        if node.get("role", {}).get("value") in ("button", "checkbox", "link", "textbox", "image")
    ]  # fmt: skip
    assert len(usable) >= 3
    assert [node for node in usable if not node.get("name", {}).get("value")] == []


def test_a_broken_picture_says_what_is_wrong(
    browser: Chromium, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_text("no picture")
    page = open_page(browser, server)
    page.pick("#file", tmp_path / "broken.jpg")
    page.wait_for("!$('problem').hidden")
    assert page.text("#problem").startswith(
        "The picture cannot be read as a picture: no known picture format. Check that"
    )
    assert page.text("#answer") == "No answer"


def test_an_unknown_picture_is_shown_as_one(browser: Chromium, server: Server) -> None:
    page = open_page(browser, server)
    answer = server.post().json | {"label": "unknown", "unknown": True, "distance": 1.5}
    page.evaluate(f"report({json.dumps(answer)}, 12)")
    assert page.text("#answer") == "unknown"
    assert "1.50 times the distance at which it counts as unknown" in page.text("#remark")
    assert page.evaluate("document.querySelector('#bars .best')") is None


def test_a_heatmap_is_drawn_as_run_draws_it(
    browser: Chromium, server: Server, tmp_path: Path, rng: np.random.Generator
) -> None:
    picture = draw("checks", 1, 300, 300)
    picture.save(tmp_path / "checks.png")
    logits = rng.normal(0.1, 1, (7, 5))
    page = open_page(browser, server)
    page.evaluate("Object.assign(model, { size_px: 32, resize_px: 32, explains: false })")
    page.pick("#file", tmp_path / "checks.png")
    page.wait_for(ANSWERED)
    heatmap = {"label": "checks", "logits": logits.tolist()}
    page.evaluate(f"(shown.prediction.heatmap = {json.dumps(heatmap)}, draw())")
    assert page.text("#legend").startswith("What speaks for checks, from little to most.")
    pixels = page.evaluate("[...$('canvas').getContext('2d').getImageData(0, 0, 300, 300).data]")
    drawn = np.array(pixels, np.int16).reshape(300, 300, 4)[..., :3]
    expected = draw_heatmap(picture, Heatmap(label="", logits=tuple(map(tuple, logits.tolist()))))
    assert np.abs(drawn - np.asarray(expected, np.int16)).max() <= 2


def test_only_the_square_that_the_network_sees_has_a_heatmap(
    browser: Chromium, server: Server, tmp_path: Path
) -> None:
    Image.new("RGB", (400, 200), (200, 100, 50)).save(tmp_path / "wide.png")
    page = open_page(browser, server)
    page.evaluate("Object.assign(model, { size_px: 32, resize_px: 40 })")
    page.pick("#file", tmp_path / "wide.png")
    page.wait_for(ANSWERED)
    heatmap = {"label": "checks", "logits": [[1.0]]}
    page.evaluate(f"(shown.prediction.heatmap = {json.dumps(heatmap)}, draw())")
    row = page.evaluate("[...$('canvas').getContext('2d').getImageData(0, 100, 400, 1).data]")
    colours = np.array(row).reshape(400, 4)[:, :3]
    changes = np.flatnonzero(np.abs(np.diff(colours, axis=0)).sum(axis=1)) + 1
    assert changes.tolist() == [120, 280]  # 200 px x 32 / 40 = 160 px in the middle
    assert colours[0].tolist() == pytest.approx([90, 45, 22.5], abs=1)  # dimmed


def test_a_locked_server_has_a_field_for_the_token(
    browser: Chromium, locked: Server, picture: Path
) -> None:
    page = browser.open(PHONE_PX)
    page.go(f"http://localhost:{locked.port}/")
    page.wait_for("!$('locked').hidden")
    assert page.evaluate("document.activeElement.id") == "token"
    for character in "wrong":
        page.press(character)
    page.press("Enter")
    page.wait_for("!$('problem').hidden")
    assert page.text("#problem") == "That is not this server's token."
    page.evaluate("$('token').value = ''")
    for character in "secret-1":
        page.press(character)
    page.press("Enter")
    page.wait_for(LOADED)
    assert page.evaluate("$('locked').hidden && $('problem').hidden")
    page.pick("#file", picture)
    page.wait_for(ANSWERED)
    page.go(f"http://localhost:{locked.port}/docs")
    page.wait_for("document.querySelectorAll('section').length > 8")
    assert page.evaluate("Object.keys(localStorage).length") == 0


def test_where_browsers_allow_no_camera_the_page_says_what_to_do(
    browser: Chromium, locked: Server
) -> None:
    page = browser.open(PHONE_PX)
    page.go(f"http://board.test:{locked.port}/")
    page.wait_for("!$('locked').hidden")
    page.evaluate("keptToken('secret-1'), begin()")
    page.wait_for(LOADED)
    page.click("#camera")
    assert page.text("#insecure").startswith("Browsers let a page use the camera only on localhost")
    port = locked.port
    assert page.text("#forward") == (
        f"ssh -L {port}:localhost:{port} board.test\nhttp://localhost:{port}/"
    )
    assert page.sticks_out() == []
