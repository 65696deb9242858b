"""Drawing masks, outlines, boxes and labels on an image."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from colorsys import hls_to_rgb
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from perception.errors import DataError
from perception.instances import Instances
from perception.ops.masks import rle_to_mask
from perception.types import FloatArray, ImageArray, IntArray

# Far apart in hue and lightness, so that neighbours in the list are told apart at once.
_PALETTE = (
    "#e6194b", "#0082c8", "#3cb44b", "#ffe119", "#911eb4", "#f58231", "#46f0f0", "#f032e6",
    "#d2f53c", "#008080", "#aa6e28", "#fabebe", "#800000", "#aaffc3", "#000080", "#808000",
)  # fmt: skip
# Hues a golden section of the circle apart, so that the next ones fall between those before.
_MANY_COLORS = tuple(
    "#" + "".join(f"{round(part * 255):02x}" for part in hls_to_rgb(n * 0.618034 % 1, light, 0.9))
    for n, light in enumerate((0.5, 0.65, 0.38) * 32)
)
_MASK_OPACITY = 0.45
_LABEL_WIDTH = 24
"""The widest label in font sizes; a longer name is cut short."""


def draw_overlay(
    instances: Instances, image: ImageArray | None = None, *, labels: bool | None = None
) -> ImageArray:
    """The image H x W x 3 with every instance's mask and outline (or box) and label, a new array.

    Lines and letters grow with the image. A color stands for a class, or for an instance where
    there is only one class. image: the image, if ``instances`` doesn't hold it. labels: whether
    to write them; without them there are more colors and thinner lines, for hundreds of masks
    (default: as segment-everything has nothing to call its masks, they get none). Raises
    DataError without an image.
    """
    image = instances.image if image is None else image
    if image is None:
        raise DataError("the image was not kept with its instances: pass it as image=")
    if not len(instances):
        return image.copy()
    labels = instances.points is None if labels is None else labels
    several = len(instances.classes) > 1
    colors = instances.class_ids if several else np.arange(len(instances), dtype=np.int64)
    palette = _PALETTE if labels or several else _MANY_COLORS
    width = _line_width(image.shape[:2], thin=not labels)
    drawn = image.copy()
    if instances.rles:
        _draw_masks(drawn, instances, _rgb(palette, colors), width)
    else:
        _draw_boxes(drawn, instances, _rgb(palette, colors), width)
    return _draw_labels(drawn, instances, colors) if labels else drawn


def _rgb(palette: Sequence[str], colors: IntArray) -> IntArray:
    """The RGB values N x 3 of colors by their number; the palette begins anew when it ends."""
    values = np.array([ImageColor.getrgb(color)[:3] for color in palette], np.int64)
    picked: IntArray = values[colors % len(palette)]
    return picked


def _line_width(image_hw: tuple[int, int], *, thin: bool) -> int:
    return max(1, round(min(image_hw) * (0.002 if thin else 0.004)))


def _font_size(image_hw: tuple[int, int]) -> int:
    return max(11, round(min(image_hw) * 0.03))


def _draw_masks(image: ImageArray, instances: Instances, rgb: IntArray, width: int) -> None:
    """Draw on ``image``, large masks first, each in its own cut-out of it.

    One full-size mask exists at a time, however many instances there are.

    Args:
        image: H x W x 3, changed in place.
        instances: What to draw, N masks.
        rgb: The color of each, N x 3.
        width: Of the outlines, in pixels.
    """
    import cv2

    for n in np.argsort(-instances.areas, kind="stable"):
        x0, y0, x1, y1 = _grown(instances.boxes[n], width + 1)
        mask = rle_to_mask(instances.rles[n])[y0:y1, x0:x1]
        region = np.ascontiguousarray(image[y0:y1, x0:x1])
        blended = (1 - _MASK_OPACITY) * region[mask] + _MASK_OPACITY * rgb[n]
        region[mask] = np.round(blended).astype(np.uint8)
        shapes = np.ascontiguousarray(mask).view(np.uint8)
        outlines, _ = cv2.findContours(shapes, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(region, outlines, -1, rgb[n].tolist(), width)
        image[y0:y1, x0:x1] = region


def _grown(box: FloatArray, margin: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    left, top = max(0, int(x0) - margin), max(0, int(y0) - margin)
    return left, top, int(np.ceil(x1)) + margin, int(np.ceil(y1)) + margin


def _draw_boxes(image: ImageArray, instances: Instances, rgb: IntArray, width: int) -> None:
    import cv2

    # The last pixel inside a half-open box is the one before its end.
    corners = np.round(instances.boxes).astype(int) - np.array([0, 0, 1, 1])
    for (x0, y0, x1, y1), color in zip(corners.tolist(), rgb.tolist(), strict=True):
        cv2.rectangle(image, (x0, y0), (x1, y1), color, width)


def _draw_labels(image: ImageArray, instances: Instances, colors: IntArray) -> ImageArray:
    size = _font_size(instances.image_hw)
    padding = max(2, size // 4)
    names, font = label_texts(instances.labels, instances.class_ids.tolist())
    room = min(instances.image_hw[1] - 2 * padding - 1, _LABEL_WIDTH * size)
    texts = [
        shorten(name, "" if np.isnan(score) else f"{score:.2f}", font, size, room)
        for name, score in zip(names, instances.scores, strict=True)
    ]
    shown = np.array([n for n, text in enumerate(texts) if text], np.int64)
    texts = [text for text in texts if text]
    sizes = np.array([text_size(text, font, size) for text in texts]).reshape(-1, 2)
    spots = place_labels(instances.boxes[shown], sizes + 2 * padding, instances.image_hw)
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for text, spot, number in zip(texts, np.round(spots).astype(int), colors[shown], strict=True):
        x0, y0, x1, y1 = spot.tolist()
        paper = _PALETTE[number % len(_PALETTE)]
        # Pillow's rectangles include their last row and column.
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=paper)
        draw_text(draw, (x0 + padding, y0 + padding), text, font, size, ink=_ink(paper))
    return np.array(canvas)


def _ink(color: str) -> str:
    """Black or white, whichever reads better on a color (by its luma)."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


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
    """Where to put labels so that they lie in the image and cover each other as little as may be.

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
        # A spot pushed back into the image from above or below is no longer beside its box.
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
