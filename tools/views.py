"""Square views of a photograph: which part a network is shown, flipped, scaled, recolored."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from scenes.framed import PADDING

WHOLE, AROUND = 0.35, 0.45
"""How often a view is the whole photograph, and how often a part around one thing, of those that
aren't close.
"""

FILLS = 1.3, 1.8
"""How many times as long as a thing the side of a close view is."""

NEAR = 0.4, 6.0
"""The same of a view around a click, which isn't told how long the thing is."""

STRETCH = 0.12
"""Of both: how far the logarithm of its sides' ratio is from 0, by half, at most."""


@dataclass(frozen=True)
class View:
    """The part [y0:y1, x0:x1] of a photograph, flipped or not, in a square.

    size: (height, width) that the part takes of the square, from ``corner`` (x, y) on; the rest is
    padding.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    flip: bool
    size: tuple[int, int]
    side: int
    corner: tuple[int, int] = (0, 0)

    def of_image(self, image: np.ndarray) -> np.ndarray:
        """H x W x 3 uint8 -> side x side x 3."""
        out = np.empty((self.side, self.side, 3), np.uint8)
        out[:] = PADDING
        out[self._place] = self._resized(image)
        return out

    def of_mask(self, mask: np.ndarray) -> np.ndarray:
        """H x W uint8 of 0 and 1 -> side x side bool."""
        out = np.zeros((self.side, self.side), bool)
        if mask[self.y0 : self.y1, self.x0 : self.x1].any():
            out[self._place] = self._resized(mask, times=255) > 127
        return out

    def of_box(self, box: np.ndarray, *, clip: bool = True) -> np.ndarray:
        """4 float32, xyxy in the photograph -> xyxy in the square; clip: less what lies outside."""
        scale = np.array(self.size[::-1]) / (self.x1 - self.x0, self.y1 - self.y0)
        moved = (box.reshape(2, 2) - (self.x0, self.y0)) * scale
        if self.flip:
            moved[:, 0] = self.size[1] - moved[::-1, 0]
        if clip:
            moved = np.clip(moved, 0, self.size[::-1])
        return (moved + self.corner).reshape(4).astype(np.float32)

    def of_point(self, point: tuple[float, float]) -> tuple[float, float]:
        """(x, y) in the photograph -> in the square, inside of it."""
        x, y = np.clip(self.of_box(np.array([*point, *point]))[:2], 0, self.side - 0.01)
        return float(x), float(y)

    @property
    def _place(self) -> tuple[slice, slice]:
        x, y = self.corner
        return slice(y, y + self.size[0]), slice(x, x + self.size[1])

    def _resized(self, pixels: np.ndarray, *, times: int = 1) -> np.ndarray:
        part = pixels[self.y0 : self.y1, self.x0 : self.x1][:, :: -1 if self.flip else 1]
        part = part * np.uint8(times) if times > 1 else part
        smaller = self.size[0] < part.shape[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR  # as frame.py does
        return cv2.resize(np.ascontiguousarray(part), self.size[::-1], interpolation=how)


def draw_view(
    hw: tuple[int, int], box: np.ndarray, side: int, rng: Generator, *, close: float = 0
) -> View:
    """A view of a photograph of (height, width): all of it, around a box (4, xyxy), or any part.

    close: how often it is a close view of the box, as ``close_ups.py`` shows it to the segmenter.
    """
    if close and rng.random() < close:
        return _close(hw, box, side, rng)
    kind = rng.random()
    if kind < WHOLE:
        x0, y0, x1, y1 = 0, 0, hw[1], hw[0]
    elif kind < WHOLE + AROUND:
        x0, y0, x1, y1 = _around(hw, box, rng)
    else:
        x0, y0, x1, y1 = _anywhere(hw, rng)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    shape = np.array([y1 - y0, (x1 - x0) * stretch])
    height, width = (max(round(float(n)), 8) for n in side * shape / shape.max())
    return View(x0, y0, x1, y1, bool(rng.random() < 0.5), (height, width), side)


def _close(hw: tuple[int, int], box: np.ndarray, side: int, rng: Generator) -> View:
    """A square with a box nearly in its middle, filling much of it; beyond the picture: padding."""
    extent = np.maximum(box[2:] - box[:2], 1)
    length = extent.max() * np.exp(rng.uniform(*np.log(FILLS)))
    middle = (box[:2] + box[2:]) / 2 + rng.normal(0, 0.03, 2) * extent
    return _square(hw, middle, float(length), side, rng)


def view_around(
    hw: tuple[int, int], click: tuple[float, float], box: np.ndarray, side: int, rng: Generator
) -> View:
    """A square around a click (x, y) on the thing of a box (4, xyxy), near or far."""
    length = float(max((box[2:] - box[:2]).max(), 8.0)) * np.exp(rng.uniform(*np.log(NEAR)))
    return _square(hw, np.array(click), float(np.clip(length, 24, 1.2 * max(hw))), side, rng)


def _square(
    hw: tuple[int, int], middle: np.ndarray, length: float, side: int, rng: Generator
) -> View:
    """The square of a length around a place (x, y), stretched a little; beyond it: padding."""
    stretch = np.exp(rng.uniform(-STRETCH, STRETCH) * np.array([1, -1]))
    part = np.maximum(np.ceil(length * stretch).astype(int), 2)  # width, height
    x0, y0 = (int(n) for n in np.floor(middle - length * stretch / 2))
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + int(part[0]), hw[1]), min(y0 + int(part[1]), hw[0])
    flip = bool(rng.random() < 0.5)
    scale = side / part
    before = np.array([x0 + part[0] - right if flip else left - x0, top - y0])
    x, y = (min(round(float(n)), side - 1) for n in before * scale)
    height = int(np.clip(round(float((bottom - top) * scale[1])), 1, side - y))
    width = int(np.clip(round(float((right - left) * scale[0])), 1, side - x))
    return View(left, top, right, bottom, flip, (height, width), side, (x, y))


def _around(hw: tuple[int, int], box: np.ndarray, rng: Generator) -> tuple[int, int, int, int]:
    """A part that holds a box, 1.2 to 4 times as long as its longer side where there is room."""
    box = np.clip(box, 0, np.array([hw[1], hw[0]] * 2, np.float32))
    longer = float(max(box[2] - box[0], box[3] - box[1], 48.0))
    part = longer * np.exp(rng.uniform(np.log(1.2), np.log(4.0)))
    spans = []
    for low, high, limit in ((box[0], box[2], hw[1]), (box[1], box[3], hw[0])):
        length = min(max(part * rng.uniform(0.75, 1.0), high - low), limit)
        first = rng.uniform(max(high - length, 0.0), min(low, limit - length) + 1e-3)
        start = int(np.clip(first, 0, limit - 1))
        spans.append((start, min(int(np.ceil(start + length)), limit)))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1


def _anywhere(hw: tuple[int, int], rng: Generator) -> tuple[int, int, int, int]:
    height, width = hw
    size = int(min(height, width) * rng.uniform(0.45, 1.0))
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return x, y, x + size, y + size


def recolored(image: np.ndarray, rng: Generator) -> np.ndarray:
    """A picture S x S x 3 uint8 in another light: brightness, contrast, tint, grey, blur, JPEG."""
    if rng.random() < 0.2:
        return image
    gain = np.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.07, 3))
    levels = np.arange(256)[:, None] / 255
    curve = (levels ** np.exp(rng.normal(0, 0.2))) * gain + rng.normal(0, 0.05)
    table = np.clip(curve * 255, 0, 255).astype(np.uint8)  # 256 x 3
    image = cv2.LUT(image, table.reshape(256, 1, 3))
    if rng.random() < 0.08:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.random() < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image
