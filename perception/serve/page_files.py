"""Where the click page's own files are, and the few of its runtime's that it loads.

Whoever builds a wheel reads this file by itself, so it imports nothing of the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page loads of onnxruntime-web."""

PAGE_FOLDER = "demos/click"
"""The page's folder in a checkout."""

WHEEL_FOLDER = "perception/_click"
"""The page's folder in a wheel, which has the runtime's files in ``runtime`` below it."""

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""By suffix; files of another kind aren't the page's."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.(html|css|js|svg|png)")


def page_folder() -> Path:
    """Where the page is: in the installed package, or in the checkout that this is."""
    packaged = _PACKAGE / "_click"
    return packaged if packaged.is_dir() else _PACKAGE.parent / PAGE_FOLDER


def runtime_folder(page: Path) -> Path:
    """Where the runtime's files are for a page, if they were installed."""
    packaged = page / "runtime"
    installed = page / "node_modules" / "onnxruntime-web" / "dist"
    return packaged if packaged.is_dir() else installed


def page_files(page: Path) -> Iterator[Path]:
    """The files of the page itself."""
    if page.is_dir():
        yield from sorted(
            path for path in page.iterdir() if _NAME.fullmatch(path.name) and path.is_file()
        )


def runtime_files(page: Path) -> list[Path]:
    """The runtime's files; none where they aren't all there."""
    paths = [runtime_folder(page) / name for name in RUNTIME_FILES]
    return paths if all(path.is_file() for path in paths) else []


def find_file(files: Iterator[Path] | list[Path], name: str) -> Path | None:
    """The file of this name, if it is among those that may be given out."""
    return next((path for path in files if path.name == name), None)
