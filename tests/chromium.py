"""Headless Chromium for tests, controlled with the DevTools protocol through a pipe. It needs no driver and no port.

A message is a JSON object followed by a zero byte. Chromium reads from file descriptor 3 and answers on 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
          "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
          "--force-prefers-reduced-motion")  # fmt: skip
"""The last option turns off smooth scrolling: during it, a click can miss the element."""
ANSWER_TIMEOUT_S = 300.0


class Page:
    """One tab: its console messages, its requests, and methods to click, type and take screenshots."""

    def __init__(self, browser: "Chromium", session: str) -> None:
        self._browser, self._session = browser, session
        self.console_messages: list[str] = []
        self.requests: list[str] = []
        """URLs that the page requested."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, session=self._session, **parameters)

    def value(self, expression: str) -> Any:
        """Evaluate a JavaScript expression and return its value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def click(self, selector: str, index: int = 0) -> None:
        """Scroll an element into view and click its centre, which must become visible within a few seconds."""
        deadline = time.monotonic() + 5
        while not (at := self._centre(selector, index)):
            assert time.monotonic() < deadline, f"something covers {selector}"
            time.sleep(0.05)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def _centre(self, selector: str, index: int) -> list[float] | None:
        """Scroll an element into view and return its centre, [x, y] in pixels; None if something covers it."""
        centre: list[float] | None = self.value(
            f"(() => {{ const element = document.querySelectorAll({json.dumps(selector)})[{index}];"
            "element.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = element.getBoundingClientRect();"
            "const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];"
            "return element.contains(document.elementFromPoint(x, y)) ? [x, y] : null; })()"
        )
        return centre

    def press(self, key: str) -> None:
        """Press and release a key, such as `Enter`. Supports only the keys that tests need."""
        code, text = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), " ": (32, " ")}[key]
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def print_to(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))


class Chromium:
    """A running browser. As a context manager it terminates the browser at the end."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None, "chromium is installed"
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = [PROGRAM, *_QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._last_id, self._buffer = 0, b""
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        os.close(self._write)
        os.close(self._read)

    def open(self, address: str, *, width: int = 1280, scripts: bool = True) -> Page:
        """Open a URL in a new tab and wait until it has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        page.resize(width)
        self._loaded.discard(session)
        page.call("Page.navigate", url=address)
        while session not in self._loaded:
            self._next()
        return page

    def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        message_id = self._last_id
        message = {"id": message_id, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != message_id:
            pass
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        """Read the next message; record events in the page they belong to."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], ANSWER_TIMEOUT_S)
            assert ready, "chromium does not answer"
            more = os.read(self._read, 1 << 20)
            assert more, "chromium has exited"
            self._buffer += more
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._record(message)
        return message

    def _record(self, message: dict[str, Any]) -> None:
        page = self._pages.get(message.get("sessionId", ""))
        if page is None:
            return
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded.add(message["sessionId"])
        elif method == "Network.requestWillBeSent":
            page.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded":
            page.console_messages.append(parameters["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            page.console_messages.append(json.dumps(parameters))
