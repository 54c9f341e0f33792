"""Uses a web page as people do: headless Chromium that picks files, drops them and clicks.

Chromium is driven by the DevTools protocol over two pipes, which needs no library.
"""

import base64
import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.browser import CHROMIUM

_LIMIT_S = 30.0
# Chromium reads commands from file descriptor 3 and writes answers to 4.
_EXEC = """import os, sys
commands, answers, *program = sys.argv[1:]
high = os.dup2(int(answers), 100)
os.dup2(int(commands), 3)
os.dup2(high, 4)
os.execv(program[0], program)"""
_SCHEMES = {False: "light", True: "dark"}


class Chromium:
    """A running browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._received = b""
        self._events: list[dict[str, Any]] = []

    def open(self, width_px: int, *, dark: bool = False) -> "Page":
        """Open an empty page of this width."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        options = {"targetId": target, "flatten": True}
        session = self.call("Target.attachToTarget", options)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "DOM"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px < 500},
        )
        scheme = {"name": "prefers-color-scheme", "value": _SCHEMES[dark]}
        page.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        return page

    def call(
        self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None
    ) -> Any:
        """Call a method of the protocol, and wait for its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next_message()).get("id") != number:
            self._events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def events(self, session: str) -> list[dict[str, Any]]:
        """What happened on a page."""
        return [event for event in self._events if event.get("sessionId") == session]

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from], [], [], _LIMIT_S)
            assert ready, "Chromium does not answer"
            self._received += os.read(self._from, 2**20)
        message, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """A page of the browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> Any:
        """Call a method of the protocol on this page."""
        return self._browser.call(method, parameters, self._session)

    def go(self, address: str) -> None:
        """Load an address, and wait until it is loaded."""
        self.call("Page.navigate", {"url": address})
        self.wait_for(f"location.href.startsWith({address!r}) && document.readyState == 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, of a promise when it is kept."""
        options = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _LIMIT_S
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} does not become true"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """The text that a person sees in an element."""
        return str(self.evaluate(f"document.querySelector({selector!r}).innerText"))

    def pick(self, selector: str, *files: Path) -> None:
        """Choose files in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.call("DOM.setFileInputFiles", {"nodeId": node, "files": [str(f) for f in files]})

    def drop(self, selector: str, *files: Path) -> None:
        """Drag files from outside to the middle of an element, and drop them."""
        x, y = self._middle(selector)
        data = {"items": [], "files": [str(f) for f in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1},
            )

    def press(self, key: str) -> None:
        """Press a key, e.g. "Tab", or type a character."""
        more = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        code = {"windowsVirtualKeyCode": codes.get(key, 0)}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", "key": key, **code, **more})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", "key": key, **code})

    def console(self) -> list[str]:
        """Errors and warnings on the console, and exceptions."""
        self.evaluate("0")  # what came before it has been received then
        found = []
        for event in self._browser.events(self._session):
            method, parameters = event["method"], event["params"]
            if method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in (
                "error",
                "warning",
            ):
                found.append(str(parameters["args"]))
            elif method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
        return found

    def sticks_out(self) -> list[str]:
        """Elements that reach beyond the window's right edge, and the page if it scrolls there."""
        found: list[str] = self.evaluate(
            "[...document.querySelectorAll('*')].filter((element) => !element.closest('.scroll') &&"
            " element.getBoundingClientRect().right > innerWidth + 1)"
            ".map((element) => element.outerHTML.slice(0, 80))"
        )
        return found

    def screenshot(self, file: Path) -> None:
        """Write what the whole page looks like, as PNG."""
        answer = self.call("Page.captureScreenshot", {"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(answer["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        box = self.evaluate(
            f"(() => {{ const element = document.querySelector({selector!r});"
            " element.scrollIntoView({ block: 'center' });"
            " const { x, y, width, height } = element.getBoundingClientRect();"
            " return [x + width / 2, y + height / 2]; })()"
        )
        return box[0], box[1]


@contextlib.contextmanager
def chromium(home: Path, arguments: Sequence[str] = ()) -> Iterator[Chromium]:
    """Start Chromium with a profile in `home`, which has a made-up camera; end it afterwards."""
    commands_read, commands = os.pipe()
    answers, answers_write = os.pipe()
    program = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--remote-debugging-pipe", f"--user-data-dir={home / 'profile'}",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", *arguments,
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", _EXEC, str(commands_read), str(answers_write), *program],
        pass_fds=(commands_read, answers_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
    ) as process:
        os.close(commands_read)
        os.close(answers_write)
        browser = Chromium(commands, answers)
        try:
            yield browser
        finally:
            with contextlib.suppress(OSError, AssertionError):
                browser.call("Browser.close")
            process.terminate()
            process.wait(_LIMIT_S)
            os.close(commands)
            os.close(answers)
