"""Draws the README's picture of the click page: four moments of its use, in a real browser.

    python tools/draw_click.py [--out demos/click.jpg]

Starts `perception serve` on copies of the sample pictures; Playwright and a Chromium have to be
there, and `npm ci --prefix demos/click`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PORT = 8017
WIDTH, HEIGHT = 1280, 720
SHOWN = 0.62  # of a screen's size, so that the picture stays small
GAP = 6
TEXT = "animal: cat | dog. balloon. kite. tree: fir tree | palm tree. tent. bicycle"


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The service on a folder; gives its address."""
    address = f"http://127.0.0.1:{PORT}/"
    command = [sys.executable, "-m", "perception", "serve", str(folder), "-q", "--port", str(PORT)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urlopen(address, timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture is in the window."""
    view = page.evaluate("perception.view")
    left, top = page.evaluate(
        "(({ x, y }) => [x, y])(document.getElementById('stage').getBoundingClientRect())"
    )
    return left + view["x"] + x * view["scale"], top + view["y"] + y * view["scale"]


def answered(page: Page) -> None:
    page.wait_for_selector('html[data-draft="answered"]')
    page.wait_for_timeout(300)


def screens(page: Page, address: str) -> Iterator[bytes]:
    """A preview under the pointer, a lone click, a text, and a mark that is corrected."""
    page.goto(f"{address}#park.jpg")
    page.wait_for_selector('html[data-ready="ready"]')
    page.keyboard.press("a")
    page.keyboard.type("animal")
    page.keyboard.press("Enter")
    page.wait_for_selector("#classes .row")
    page.mouse.move(*place(page, 210, 395))
    page.wait_for_timeout(1000)
    yield page.screenshot()
    page.mouse.click(*place(page, 210, 395))
    answered(page)
    yield page.screenshot()
    page.keyboard.press("Escape")
    page.fill("#ask-text", TEXT)
    page.keyboard.press("Enter")
    page.wait_for_selector("#message.good:visible")
    page.wait_for_timeout(1200)
    yield page.screenshot()
    page.mouse.click(*place(page, 90, 410))
    page.keyboard.press("b")
    x, y = place(page, 74, 372)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y + 10, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    yield page.screenshot()


def strip(pictures: list[bytes]) -> Image.Image:
    """Four screens, two by two."""
    size = (round(WIDTH * SHOWN), round(HEIGHT * SHOWN))
    sheet = Image.new("RGB", (2 * size[0] + GAP, 2 * size[1] + GAP), "white")
    for n, picture in enumerate(pictures):
        screen = Image.open(io.BytesIO(picture)).convert("RGB")
        screen = screen.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(screen, ((n % 2) * (size[0] + GAP), (n // 2) * (size[1] + GAP)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "demos" / "click.jpg")
    out: Path = parser.parse_args().out
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    options: dict[str, Any] = {"executable_path": chromium, "args": ["--no-sandbox"]}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pictures = Path(folder) / "pictures"
        shutil.copytree(ROOT / "demos" / "images", pictures)
        browser = playwright.chromium.launch(**options)
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme="dark",
            reduced_motion="reduce",
        )
        with service(pictures) as address:
            sheet = strip(list(screens(page, address)))
        browser.close()
    sheet.save(out, quality=84, optimize=True, progressive=True)
    print(f"{out}: {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
