"""Labels on a picture: a font that has the letters, text that fits, a place that is free."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ImageDraw, ImageFont

from perception.types import FloatArray

# Pillow looks these up by file name in the system's font folders.
_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)


def label_texts(names: Sequence[str], class_ids: Sequence[int]) -> tuple[list[str], str | None]:
    """Names as they can be drawn, and the font file to draw them with (None: Pillow's own).

    The first font that has all letters is taken. Without one, a symbol is called by its Unicode
    name ("slice of pizza"), and a name that still can't be drawn becomes "class 3".
    """
    basic = _basic_font()
    if all(_has(basic, name) for name in names):
        return list(names), basic
    for file_name in _SYSTEM_FONTS:
        font = _system_font(file_name)
        if font is not None and all(_has(font, name) for name in names):
            return list(names), font
    spelled = [_spell(name) for name in names]
    return [
        text if _has(basic, text) else f"class {class_id + 1}"
        for text, class_id in zip(spelled, class_ids, strict=True)
    ], basic


def text_size(text: str, font: str | None, font_size: int) -> tuple[int, int]:
    """Width and height of one line of text in pixels."""
    left, top, right, bottom = _load(font, font_size).getbbox(text)
    return int(np.ceil(right - left)), int(np.ceil(bottom - top))


def draw_text(
    draw: ImageDraw.ImageDraw,
    top_left: tuple[int, int],
    text: str,
    font: str | None,
    font_size: int,
    *,
    ink: str,
) -> None:
    """Draw one line of text so that the box of ``text_size`` begins at ``top_left`` (x, y)."""
    loaded = _load(font, font_size)
    left, top, _, _ = loaded.getbbox(text)
    draw.text((top_left[0] - left, top_left[1] - top), text, fill=ink, font=loaded)


def shorten(name: str, score: str, font: str | None, font_size: int, width: int) -> str:
    """``name score``, the name cut short with "…" so that it is at most ``width`` pixels wide.

    "" if not even the score fits.
    """
    for kept in range(len(name), -1, -1):
        cut = "" if kept == len(name) else "…"
        text = f"{name[:kept].rstrip()}{cut} {score}".strip()
        if text_size(text, font, font_size)[0] <= width:
            return text
    return ""


def place_labels(boxes: FloatArray, sizes: FloatArray, image_hw: tuple[int, int]) -> FloatArray:
    """Where to put labels so that they lie in the picture and cover each other as little as may be.

    boxes: N x 4 xyxy, what each label belongs to; sizes: N x 2 (width, height) of the labels.
    Returns the labels' own boxes N x 4: above the box, in its top, below, in its bottom, or to the
    right, whichever is free first.
    """
    height, width = image_hw
    placed = np.zeros((len(boxes), 4), np.float32)
    for n, ((x0, y0, x1, y1), (w, h)) in enumerate(zip(boxes, sizes, strict=True)):
        corners = np.array(
            [[x0, y0 - h], [x0, y0], [x0, y1], [x0, y1 - h], [x1, y0], [x1 - w, y0 - h]]
        )
        inside = np.clip(corners, 0, np.maximum([width - w, height - h], 0))
        moved = np.abs(inside - corners)[:, 1] > 0
        spots = np.hstack([inside, inside + np.array([w, h])]).astype(np.float32)
        # A spot pushed back into the picture from above or below is no longer beside its box.
        cost = _overlaps(spots, placed[:n]) + moved * 0.5
        placed[n] = spots[int(np.argmin(cost))]
    return placed


def _overlaps(spots: FloatArray, taken: FloatArray) -> FloatArray:
    """Which share of each spot S x 4 is covered by T taken ones, S."""
    low = np.maximum(spots[:, None, :2], taken[None, :, :2])
    high = np.minimum(spots[:, None, 2:], taken[None, :, 2:])
    covered = np.maximum(high - low, 0).prod(axis=2).sum(axis=1)
    shares: FloatArray = covered / np.maximum((spots[:, 2:] - spots[:, :2]).prod(axis=1), 1)
    return shares


def _spell(name: str) -> str:
    """Symbols (emoji, say) by their Unicode names; joiners and variation marks left out."""
    words = []
    for char in name:
        if unicodedata.category(char) in ("So", "Sk"):
            words.append(f" {unicodedata.name(char, '?').lower()} ")
        elif unicodedata.category(char) not in ("Mn", "Cf"):
            words.append(char)
    return " ".join("".join(words).split())


@cache
def _basic_font() -> str | None:
    """DejaVu Sans (Latin, Greek, Cyrillic), which travels with matplotlib."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(path) if path.is_file() else None


@cache
def _system_font(file_name: str) -> str | None:
    try:
        return str(ImageFont.truetype(file_name).path)
    except OSError:
        return None


@lru_cache(maxsize=32)
def _load(font: str | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if font is None else ImageFont.truetype(font, size)


@lru_cache(maxsize=4096)
def _has(font: str | None, text: str) -> bool:
    """Whether a font has every letter: a missing one is drawn as the font's empty box."""
    if text.isascii():
        return True
    loaded = _load(font, 20)
    missing = bytes(loaded.getmask("\uffff"))
    return all(char.isspace() or bytes(loaded.getmask(char)) != missing for char in text)
