"""Times the click page in a real browser, and the service behind it under load.

    python tools/bench_click.py [--models sam,nano] [--clicks 50] [--seconds 20] [--json FILE]
                                [--keep FOLDER]

Chromium, WebAssembly with threads. ``sam`` is a full-size SAM (ViT-B) with random weights: the work
is that of a trained one, the masks mean nothing. In its page ours and ``segment_anything``'s own
ONNX decoder take turns on the same runtime and the same embedding, in batches of ten clicks; a call
before each batch isn't counted. --keep: where the exported SAM is left, and taken from the next
time. Needs the extra [dev], ``npm ci --prefix demos/click`` and Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from playwright.sync_api import Browser, Page, Request, sync_playwright

from perception.imaging.read import read_image
from perception.runtime.onnx_session import usable_cores

ROOT = Path(__file__).resolve().parent.parent
PICTURE, PICTURE_HW = ROOT / "demos" / "images" / "park.jpg", (1500, 2250)
NAME = "picture.jpg"
TURNS = Path(__file__).parent / "bench_click" / "turns.js"
BATCH = 10
CLIENTS, RATE = 8, 50
PATIENCE = 300.0
PARTS = "decoder", "mask", "painting"
HOVER = 0.4
"""Seconds of rest before a click, in which the preview comes, as under a hand."""


@dataclass(frozen=True)
class Row:
    """One line of the table, in milliseconds."""

    model: str
    work: str
    median: float
    p95: float
    least: float
    note: str = ""

    def __str__(self) -> str:
        times = " | ".join(f"{value:.1f}" for value in (self.median, self.p95, self.least))
        return f"| {self.model}: {self.work} | {times} | {self.note} |"


def row(model: str, work: str, times: list[float], note: str = "") -> Row:
    median, p95 = np.percentile(times, [50, 95])
    return Row(model, work, float(median), float(p95), min(times), note)


@contextmanager
def serving(folder: Path, segmenter: Path | None) -> Iterator[str]:
    """``perception serve`` on a folder with one picture; its address."""
    pictures = folder / "pictures"
    pictures.mkdir()
    draw_picture(pictures / NAME)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "perception",
        "serve",
        str(pictures),
        "-q",
        "--port",
        str(port),
    ]
    if segmenter is not None:
        command += ["--segmenter", str(segmenter)]
    environment = {**os.environ, "PERCEPTION_CACHE": str(folder / "cache")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(process, address), "the service")
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def draw_picture(path: Path) -> None:
    """A sample picture, enlarged."""
    from PIL import Image

    height, width = PICTURE_HW
    Image.fromarray(read_image(PICTURE)).resize((width, height)).save(path, quality=92)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(process: subprocess.Popen[bytes], address: str) -> bool:
    if process.poll() is not None:
        raise SystemExit("the service has ended")
    try:
        with urlopen(f"{address}/api/session", timeout=5) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except OSError:
        return False


def until(done: Callable[[], Any], what: str) -> Any:
    """Waits for something to be true and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := done():
            return answer
        time.sleep(0.02)
    raise SystemExit(f"{what} hasn't come in {PATIENCE:g} s")


class Worker:
    """The worker ``turns.js`` in a page of the service."""

    def __init__(self, page: Page, address: str, reference: Path | None) -> None:
        self._page = page
        headers = {"cross-origin-embedder-policy": "require-corp"}
        served: dict[str, Any] = {"content_type": "text/javascript", "headers": headers}
        page.route("**/bench/turns.js", lambda route: route.fulfill(path=TURNS, **served))
        if reference is not None:
            page.route("**/bench/reference", lambda route: route.fulfill(path=reference))
        page.goto(f"{address}/api/session")  # of the origin, and nothing else runs on it
        page.evaluate(
            """() => {
              const worker = new Worker("/bench/turns.js", { type: "module" });
              window.ask = (type, question = {}) => new Promise((resolve, reject) => {
                worker.onmessage = ({ data }) =>
                  data.error ? reject(new Error(data.error)) : resolve(data.answer);
                worker.onerror = ({ message }) => reject(new Error(message));
                worker.postMessage({ type, ...question });
              });
            }"""
        )
        session = page.evaluate("async () => (await fetch('/api/session')).json()")
        self.side: int = session["model"]["side"]
        self.about: dict[str, Any] = page.evaluate(
            """async ([model, has]) => {
              const answer = has && (await fetch("/bench/reference"));
              const referenceBytes = has ? await answer.arrayBuffer() : null;
              return ask("open", { model, referenceBytes, threads: null });
            }""",
            [session["model"], reference is not None],
        )

    def ask(self, work: str, **question: Any) -> Any:
        return self._page.evaluate("([type, question]) => ask(type, question)", [work, question])


def places(count: int, side: int) -> list[list[float]]:
    """Clicks all over the picture, in pixels of the model's input."""
    spread = np.random.default_rng(0).uniform(0.05, 0.95, (count, 2))
    scale = side / max(PICTURE_HW)
    clicked: list[list[float]] = (spread * [PICTURE_HW[1], PICTURE_HW[0]] * scale).tolist()
    return clicked


def to_logits(
    browser: Browser, model: str, address: str, reference: Path | None, clicks: int
) -> Iterator[Row]:
    """Click to logits, in a worker that runs nothing else."""
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    worker = Worker(page, address, reference)
    prepared = worker.ask("picture", name=NAME, imageHw=PICTURE_HW)
    note = f"{worker.about['backend']}, {worker.about['threads']} threads"
    times: dict[str, list[float]] = {"clicks": [], "furtherClicks": [], "referenceClicks": []}
    apart = 0.0
    clicked = places(clicks, worker.side)
    for start in range(0, clicks, BATCH):
        batch = clicked[start : start + BATCH]
        if reference is not None:
            found = worker.ask("referenceClicks", places=batch)
            times["referenceClicks"] += found["times"]
            apart = max(apart, found["apart"])
        for work in ("clicks", "furtherClicks"):
            times[work] += worker.ask(work, places=batch)
    yield row(model, "a picture's embedding, prepared", [prepared], note)
    if reference is not None:
        theirs = times["referenceClicks"]
        yield row(model, "click to logits, `segment_anything`'s export", theirs, note)
        ratio = np.median(theirs) / np.median(times["clicks"])
        note = f"**{ratio:.1f} x** as fast; logits within {apart:.1g}"
    yield row(model, "click to logits", times["clicks"], note)
    yield row(model, "a further click, with the earlier mask, to logits", times["furtherClicks"])
    page.close()


def to_paint(
    browser: Browser, model: str, address: str, clicks: int, *, rested: bool
) -> Iterator[Row]:
    """Click to painted mask, in the page as it is, by its own times; bytes over the wire.

    rested: the pointer was there before, so that the preview's answer is the click's; otherwise it
    is the tap of a finger, of which nothing is known before.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 720}, has_touch=True)
    page.set_default_timeout(1000 * PATIENCE)
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    page.goto(f"{address}/#{NAME}")
    state = "document.documentElement.dataset"
    until(lambda: page.evaluate(f"{state}.ready") == "ready", "the picture")
    embedding = sum(body_bytes(one) for one in finished if "/api/embedding" in one.url)
    times = []
    before = len(finished)
    for x, y in np.random.default_rng(1).uniform(0.05, 0.95, (clicks + 1, 2)):
        times.append(painted(page, x * PICTURE_HW[1], y * PICTURE_HW[0], rested=rested))
    parts = np.median(times[1:], axis=0)[1:]
    split = ", ".join(f"{part} {value:.0f}" for part, value in zip(PARTS, parts, strict=True))
    # What saves and tabs say isn't of the click.
    asked = [one for one in finished[before:] if "/api/click" in one.url or "/models" in one.url]
    per_click = sum(body_bytes(one) for one in asked) / len(times)
    where = page.evaluate(f"{state}.decoder")
    yield row(
        model,
        f"{'click where the pointer rested' if rested else 'tap'} to painted mask, 1500 x 2250",
        [every for every, *_ in times[1:]],
        f"by the {where}: {split}; "
        f"{embedding / 1e6:.2f} MB a picture, {per_click:,.0f} bytes a click",
    )
    page.close()


def body_bytes(request: Request) -> int:
    sizes = request.sizes()
    return sizes["requestBodySize"] + sizes["responseBodySize"]


def painted(page: Page, x: float, y: float, *, rested: bool) -> list[float]:
    """One click at a place of the picture; milliseconds until its mask was painted, and of PARTS.

    As the page says them, in whole numbers.
    """
    page.keyboard.press("Escape")
    stage = page.locator("#stage").bounding_box()
    view = page.evaluate("() => ({ ...perception.view })")
    if stage is None:
        raise SystemExit("the page has no stage")
    place = (stage["x"] + view["x"] + x * view["scale"], stage["y"] + view["y"] + y * view["scale"])
    if rested:
        page.mouse.move(*place)
    page.wait_for_timeout(1000 * HOVER)
    page.evaluate(
        """() => {
          const times = document.getElementById("times");
          window.said = new Promise((resolve) => {
            const observer = new MutationObserver(() => resolve(times.textContent));
            observer.observe(times, { childList: true });
          });
        }"""
    )
    if rested:
        page.mouse.click(*place)
    else:
        page.touchscreen.tap(*place)
    text: str = page.evaluate("() => window.said")
    return [float(number) for number in re.findall(r"\d+", text)]


def under_load(model: str, address: str, seconds: float) -> Iterator[Row]:
    """The service answers clicks of several clients, in a process of their own."""
    clients = Path(__file__).parent / "bench_click" / "clients.py"
    for work, rate in (("one client, one after the other", 0), (f"{RATE} clicks/s", RATE)):
        command = [sys.executable, str(clients), address, NAME, str(rate), str(seconds)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        note = f"{CLIENTS} clients, {found['bytes']:,} bytes a click" if rate else ""
        yield row(model, f"by the service, {work}", found["times"], note)


def build_sam(folder: Path) -> Path:
    """A full-size SAM with random weights, exported; ``reference.onnx`` beside the folder."""
    out = folder / "exported"
    if (folder / "reference.onnx").is_file():
        return out
    import torch
    from bench_sam import export_reference_onnx, random_sam
    from segment_anything import sam_model_registry

    from perception.segmenters.sam.export import export_fast

    torch.manual_seed(0)
    sam = random_sam()
    # Else each pixel of a mask is drawn by itself, and no outline is that long.
    for layer in (0, 3):
        weight = sam.mask_decoder.output_upscaling[layer].weight.data
        weight[:] = weight.mean((2, 3), keepdim=True)
    reference = sam_model_registry["vit_b"]().eval()
    reference.load_state_dict(sam.state_dict(), strict=True)
    out.mkdir(parents=True)
    export_fast(sam, out, name="vit_b", prefix="vit_b")
    export_reference_onnx(reference, folder)
    return out


def bench(model: str, browser: Browser, arguments: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        graphs = arguments.keep or Path(name)
        segmenter = build_sam(graphs) if model == "sam" else None
        reference = graphs / "reference.onnx" if model == "sam" else None
        with serving(Path(name), segmenter) as address:
            yield from to_logits(browser, model, address, reference, arguments.clicks)
            for rested in (False, True):
                yield from to_paint(browser, model, address, arguments.clicks, rested=rested)
            yield from under_load(model, address, arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", default="sam,nano")
    parser.add_argument("--clicks", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no chromium on the PATH")
    rows: list[Row] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"Chromium {browser.version}, {usable_cores()} cores\n")
        print("| work | median, ms | 95th percentile | least | |\n|---|---|---|---|---|")
        for model in arguments.models.split(","):
            for one in bench(model, browser, arguments):
                print(one, flush=True)
                rows.append(one)
        browser.close()
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in rows], indent=2))


if __name__ == "__main__":
    main()
