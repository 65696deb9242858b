"""A browser and a service for the tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click_page import PAGE
from system_tools import is_required, need

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from served import Served, Tab

PICTURES = Path(__file__).parents[2] / "demos" / "images"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, through Playwright."""
    if not is_required():
        pytest.importorskip("playwright", reason="playwright is missing")
        pytest.importorskip("fastapi", reason="the extra [web] is missing")
    from playwright.sync_api import sync_playwright

    path = need(shutil.which("chromium") or shutil.which("chromium-browser"), "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def runtime() -> None:
    """The page's own runtime has to be installed."""
    there = (PAGE / "node_modules" / "onnxruntime-web" / "dist").is_dir()
    need("there" if there else None, "onnxruntime-web (npm ci --prefix demos/click)")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings, which all services of the tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def serve(browser: Browser, cache: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts the real service on copies of sample images; wait: it is left to be started."""
    from served import Served

    with ExitStack() as stack:

        def start(*names: str, wait: bool = False) -> Served:
            folder = tmp_path / "pictures"
            folder.mkdir()
            for name in names:
                shutil.copy(PICTURES / name, folder / name)
            served = Served(folder, cache)
            stack.callback(served.end)
            if not wait:
                served.start()
            return served

        yield start


@pytest.fixture(scope="session")
def shared(
    browser: Browser, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One service for all tests that work on an image of their own, or leave no marks behind."""
    from served import Served

    folder = tmp_path_factory.mktemp("shared")
    for name in ("park.jpg", "street.jpg"):
        shutil.copy(PICTURES / name, folder / name)
    for name in ("undone.jpg", "tabs.jpg", "visit.jpg", "reload.jpg"):
        shutil.copy(PICTURES / "park.jpg", folder / name)
    served = Served(folder, cache)
    try:
        served.start()
        yield served
    finally:
        served.end()


@pytest.fixture
def look(
    browser: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, and fails where one of them has logged an error that the test doesn't expect."""
    from served import tab

    shots = Path(os.environ.get("PERCEPTION_SCREENSHOTS", tmp_path / "screenshots"))
    shots.mkdir(parents=True, exist_ok=True)
    tabs: list[Tab] = []
    with ExitStack() as stack:

        def start(served: Served, **options: Any) -> Tab:
            name = f"{request.node.name}{len(tabs) or ''}".replace("[", "-").replace("]", "")
            tabs.append(stack.enter_context(tab(browser, served.address, shots, name, **options)))
            return tabs[-1]

        yield start
    for one in tabs:
        assert one.errors == []
