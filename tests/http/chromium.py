"""A headless Chromium for tests, driven through its own debugging pipe: no driver, no port.

Reference: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

COMMAND = shutil.which("chromium") or shutil.which("chromium-browser")
"""Debian's package chromium has it; `scripts/test` installs that where it can."""

WAIT_SECONDS = 30

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # as root, in a container, there is no other way; it opens our page alone
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-pipe",
)


class Chromium:
    """A running browser. Its methods are for one thread."""

    def __init__(self, profile: Path) -> None:
        assert COMMAND is not None
        from_us, self._to_browser = _pipe()
        self._from_browser, to_us = _pipe()
        # The browser's ends must be its descriptors 3 and 4.
        line = f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, COMMAND, *_SWITCHES, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(from_us, to_us),
        )
        os.close(from_us)
        os.close(to_us)
        self._ids = count(1)
        self._answers: dict[int, queue.Queue[Any]] = {}
        self.pages: dict[str, Page] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> Any:
        """Run a method of the protocol; its result."""
        number = next(self._ids)
        self._answers[number] = queue.Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        answer = self._answers[number].get(timeout=WAIT_SECONDS)
        del self._answers[number]
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _read(self) -> None:
        held = b""
        while data := os.read(self._from_browser, 1 << 16):
            *whole, held = (held + data).split(b"\0")
            for one in whole:
                message = json.loads(one)
                if "id" in message:
                    waiting = self._answers.get(message["id"])
                    if waiting is not None:
                        waiting.put(message)
                elif message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].told.append(message)

    def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> "Page":
        """A new tab on a page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.look(width, height, dark=dark)
        page.call("Page.navigate", url=url)
        return page

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to_browser)
        self._reader.join(10)
        os.close(self._from_browser)


class Page:
    """One tab.

    Attributes:
        told: every event of it so far.
    """

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.told: list[dict[str, Any]] = []

    def close(self) -> None:
        """Close the tab: a browser has six connections for all tabs of one server."""
        del self._browser.pages[self._session]
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be shown on a screen of this size and taste."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1 if width > 600 else 2,
            mobile=width <= 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """What an expression of the page's own scripts comes to."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; what it raises on a page that is not there yet counts
        as false."""
        script = f"(() => {{ try {{ return {script} }} catch {{ return false }} }})()"
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, (script, self.run("document.body.innerText"))
            time.sleep(0.05)
        return found

    def text(self, selector: str) -> str:
        """What is to be read in an element."""
        found = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        assert isinstance(found, str)
        return found

    def press(self, key: str) -> None:
        """Press a key of the keyboard, as a person does."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        names = {"key": key, "code": key}
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        code = codes.get(key, 0)
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown" if text else "rawKeyDown",
            text=text,
            windowsVirtualKeyCode=code,
            **names,
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, **names)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """Keep what the whole page looks like."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [
            one["params"]["request"]["url"]
            for one in self.told
            if one["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the browser has to say: exceptions, refusals by the policy, errors."""
        found = []
        for one in self.told:
            parameters = one["params"]
            if one["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif one["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
            elif one["method"] == "Runtime.consoleAPICalled" and parameters["type"] == "error":
                found.append(str(parameters["args"]))
        return found


def _pipe() -> tuple[int, int]:
    """A pipe with numbers that are in nobody's way."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


@contextmanager
def chromium(directory: Path) -> Iterator[Chromium]:
    """A browser for as long as the context is open."""
    browser = Chromium(directory / "profile")
    try:
        yield browser
    finally:
        browser.close()
