"""The real service in a process of its own, and a browser tab that looks at it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from playwright.sync_api import Browser, Page

from perception.ops.masks import rle_to_mask
from perception.types import BoolArray, Rle

PATIENCE = 30.0


def until(done: Callable[[], Any], what: str = "it") -> Any:
    """Waits for something to be true and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := done():
            return answer
        time.sleep(0.03)
    raise AssertionError(f"{what} hasn't come in {PATIENCE:g} s")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Served:
    """``perception serve`` on a folder; it can be killed and started again."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.out, self.port = folder, folder / "annotations.json", free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self._environment = {**os.environ, "PERCEPTION_CACHE": str(cache)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "perception", "serve", str(self.folder), "-q"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], env=self._environment, stdout=subprocess.DEVNULL
        )
        until(self._answers, "the service")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the service has ended"
        try:
            with urlopen(self.address + "api/session", timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None


class Tab:
    """A page with the click tool, in words of the tests."""

    def __init__(self, page: Page, address: str, shots: Path, name: str) -> None:
        self.page, self.address, self.shots, self.name = page, address, shots, name
        self.errors: list[str] = []
        self.calls: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.calls.append(request.url))

    def open(self, picture: str) -> None:
        self.page.goto(f"{self.address}#{picture}")
        self.ready(picture)

    def ready(self, picture: str) -> None:
        until(lambda: (self.state("picture"), self.state("ready")) == (picture, "ready"), picture)

    def state(self, name: str) -> str:
        return str(self.page.evaluate("name => document.documentElement.dataset[name]", name))

    def see(self, what: str) -> Any:
        return self.page.evaluate(f"perception.{what}")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the image is in the window."""
        view, stage = self.see("view"), self.page.locator("#stage").bounding_box()
        assert stage is not None
        return (
            stage["x"] + view["x"] + x * view["scale"],
            stage["y"] + view["y"] + y * view["scale"],
        )

    def click(self, x: float, y: float, **options: Any) -> None:
        self.page.mouse.click(*self.place(x, y), **options)

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.place(*place), steps=4)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def find(self, text: str) -> None:
        self.page.fill("#ask-text", text)
        self.press("Enter")

    def add_class(self, name: str) -> str:
        """Adds a class and returns the key that stands for it."""
        self.press("a")
        self.page.keyboard.type(name)
        self.press("Enter")
        texts = self.page.locator("#classes .text")
        until(lambda: name in texts.all_inner_texts(), name)
        return str(texts.all_inner_texts().index(name) + 1)

    def answered(self) -> BoolArray:
        """The mask in work, once it is there."""
        until(lambda: self.state("draft") == "answered", "an answer")
        return self.mask()

    def mask(self) -> BoolArray:
        mask = self.see("mask")
        return rle_to_mask(Rle(tuple(mask["size"]), mask["counts"]))

    def marks(self) -> list[dict[str, Any]]:
        return self.see("marks")

    def saved(self) -> None:
        until(lambda: self.state("saved") == "saved", "saving")

    def shot(self, step: str) -> None:
        if self.shots:
            self.page.screenshot(path=self.shots / f"{self.name}-{step}.png")


@contextmanager
def tab(browser: Browser, address: str, shots: Path, name: str, **options: Any) -> Iterator[Tab]:
    """A tab of its own browser session, with its own storage."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
    try:
        yield Tab(context.new_page(), address, shots, name)
    finally:
        context.close()
