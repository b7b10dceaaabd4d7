# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests: headless Chromium, spoken to over its DevTools pipe, without any package.

    with Browser(find_browser()) as browser:
        browser.open(path, width=390, height=844)
        browser.run("document.title")
        assert browser.complaints == []
"""
from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from typing_extensions import Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chromium-headless-shell")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-quic",
         "--hide-scrollbars", "--remote-debugging-pipe")
KEY_CODES = {"Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}
PATIENCE = 60                       # seconds for any answer


def find_browser() -> str | None:
    """The program named by CHROME, or the first of the usual names on the path."""
    return os.environ.get("CHROME") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab; `complaints` gathers console errors, uncaught exceptions, and what was refused or did not load."""

    def __init__(self, program: str):
        self.complaints: list[str] = []
        self.events: list[str] = []
        self.number, self.unread, self.tab = 0, b"", None
        self.profile = tempfile.mkdtemp(prefix="browser-test-")
        # Chromium reads commands from descriptor 3 and answers on 4.
        self.process = subprocess.Popen(
            ["sh", "-c", 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1', program, *FLAGS,
             f"--user-data-dir={self.profile}", "about:blank"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.tab = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.tab = None
        try:
            self.send("Browser.close")
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            shutil.rmtree(self.profile, ignore_errors=True)

    def open(self, path: Path, width: int, height: int, dark: bool = False, script: bool = True) -> None:
        """Load a file in a window of that size (CSS pixels) and wait until all of it is there."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme",
                                                           "value": "dark" if dark else "light"}])
        self.send("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        answer = self.send("Page.navigate", url=path.resolve().as_uri())
        assert "errorText" not in answer, answer
        deadline = time.monotonic() + PATIENCE
        while "Page.loadEventFired" not in self.events:
            self._take(deadline)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON gives it; an exception in it is an error here."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """One of the `KEY_CODES`."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEY_CODES[key])

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A PNG of the window, or of the whole page."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def send(self, method: str, **parameters: Any) -> dict:
        """One DevTools command and its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.tab:
            message["sessionId"] = self.tab
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._take(deadline)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _take(self, deadline: float) -> dict:
        """The next message; events are noted."""
        while b"\0" not in self.unread:
            ready = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]
            part = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            if not part:
                raise TimeoutError(f"the browser {'ended' if ready else f'says nothing for {PATIENCE} s'}")
            self.unread += part
        line, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict) -> None:
        method, values = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(values["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(values["args"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        elif method == "Network.loadingFailed":
            self.complaints.append(values["errorText"])
        elif method == "Network.requestWillBeSent" and values["request"]["url"].split(":")[0] not in ("file", "data"):
            self.complaints.append(f"asked for {values['request']['url']}")
