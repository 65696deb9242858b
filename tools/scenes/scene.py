"""One scene: things on a background, with the exact mask, box and words of each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from scenes.glyphs import SPRITE, load_concepts, render_sprites
from scenes.shapes import PATTERNS, draw_shape
from scenes.textures import draw_texture
from scenes.words import HELD_OUT_PAIRS, TRAINED_PAIRS, Words

SMALL, LARGE = 0.15, 0.34  # a shape's longer side over the picture's: at most small, at least large
LEAST_VISIBLE = 0.65  # nothing is drawn over a thing so far that less than this share of it shows


@dataclass(frozen=True)
class Scene:
    """image: H x W x 3 uint8 RGB; ids: H x W int16, which thing shows at a pixel, -1 = none;
    boxes: N x 4 xyxy, tight around what shows; things: the words of each.
    """

    image: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    things: list[Words]

    def mask(self, index: int) -> np.ndarray:
        """H x W bool: where a thing shows."""
        return self.ids == index


@dataclass(frozen=True)
class Style:
    """How scenes are drawn: fewest and most things, the share of shapes among them, and how long a
    thing is at most, over the picture's longer side.

    The last two are kept for measuring: training never sees them.
    """

    things: tuple[int, int] = (1, 9)
    shape_share: float = 0.4
    longest: float = 0.5
    held_out_pairs: bool = False
    held_out_transforms: bool = False


PLAIN = Style()


class Painter:
    """Draws scenes; holds the glyph sprites, each at three sizes so that shrinking stays smooth."""

    def __init__(self) -> None:
        self.concepts = load_concepts()
        self.names = list(self.concepts)
        characters = [c for glyphs in self.concepts.values() for c in glyphs]
        self.sprites = {c: _pyramid(s) for c, s in render_sprites(characters).items()}

    def draw(
        self,
        hw: tuple[int, int],
        rng: Generator,
        style: Style = PLAIN,
        background: np.ndarray | None = None,
    ) -> Scene:
        """A scene of height and width ``hw``; the same generator state draws the same scene.

        background: H x W x 3 uint8 to draw on, in place of a texture.
        """
        canvas = draw_texture(hw, rng) if background is None else background.copy()
        ids = np.full(hw, -1, np.int16)
        things: list[Words] = []
        full: list[int] = []  # how many pixels each thing would show, were nothing in front of it
        for _ in range(int(rng.integers(style.things[0], style.things[1] + 1))):
            words, sprite, longer = self._thing(max(hw), rng, style)
            for _ in range(4):
                placed = _place(sprite, longer, hw, rng, style)
                if placed is not None and _leaves_visible(ids, placed, full):
                    _paint(canvas, ids, placed, len(things), rng)
                    full.append(int((placed.alpha > 127).sum()))
                    things.append(words)
                    break
        return Scene(_finish(canvas, rng), ids, _tight_boxes(ids, len(things)), things)

    def _thing(
        self, side: int, rng: Generator, style: Style
    ) -> tuple[Words, list[np.ndarray], float]:
        if rng.random() >= style.shape_share:
            name = self.names[int(rng.integers(len(self.names)))]
            glyphs = self.concepts[name]
            sprite = self.sprites[glyphs[int(rng.integers(len(glyphs)))]]
            share = float(np.exp(rng.uniform(*np.log((0.11, style.longest)))))
            return Words(name), sprite, side * share
        pairs = HELD_OUT_PAIRS if style.held_out_pairs else TRAINED_PAIRS
        color, noun = pairs[int(rng.integers(len(pairs)))]
        pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
        spans = {"small": (0.10, SMALL), "": (0.19, 0.28), "large": (LARGE, style.longest)}
        size = ("small", "", "large")[int(rng.integers(3))]
        sprite = _pyramid(draw_shape(noun, color, pattern, rng))
        return Words(noun, size, color, pattern), sprite, side * rng.uniform(*spans[size])


@dataclass(frozen=True)
class _Placed:
    x: int
    y: int
    rgb: np.ndarray  # h x w x 3 float32, premultiplied
    alpha: np.ndarray  # h x w uint8


def _pyramid(sprite: np.ndarray) -> list[np.ndarray]:
    half = cv2.resize(sprite, (SPRITE // 2,) * 2, interpolation=cv2.INTER_AREA)
    return [sprite, half, cv2.resize(half, (SPRITE // 4,) * 2, interpolation=cv2.INTER_AREA)]


def _corners(longer: float, rng: Generator, style: Style) -> np.ndarray:
    """Where the sprite's corners go, around the origin: 4 x 2. Turned, sheared, stretched."""
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64) * longer / 2
    turn, shear = np.deg2rad(rng.uniform(-18, 18)), rng.uniform(-0.1, 0.1)
    stretch = rng.uniform(0.9, 1 / 0.9)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = square @ (matrix @ np.array([[stretch, shear], [0, 1 / stretch]])).T
    if style.held_out_transforms:  # perspective: each corner moves on its own
        corners = corners + rng.uniform(-0.12, 0.12, (4, 2)) * longer
    return corners


def _place(
    pyramid: list[np.ndarray], longer: float, hw: tuple[int, int], rng: Generator, style: Style
) -> _Placed | None:
    level = 0 if longer > SPRITE * 0.6 else 1 if longer > SPRITE * 0.3 else 2
    sprite = pyramid[level]
    corners = _corners(longer, rng, style)
    low, high = np.floor(corners.min(0)), np.ceil(corners.max(0))
    w, h = (int(n) + 2 for n in high - low)
    if w > hw[1] * 1.1 or h > hw[0] * 1.1:
        return None
    x = int(rng.uniform(-0.15 * w, hw[1] - 0.85 * w))  # now and then cut by an edge
    y = int(rng.uniform(-0.15 * h, hw[0] - 0.85 * h))
    n = sprite.shape[0]
    source = np.array([(0, 0), (n, 0), (n, n), (0, n)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - low + 1).astype(np.float32))
    warped = cv2.warpPerspective(sprite, matrix, (w, h), flags=cv2.INTER_LINEAR)
    x0, y0 = max(0, -x), max(0, -y)
    warped = warped[y0 : hw[0] - y, x0 : hw[1] - x]
    if (warped[..., 3] > 127).sum() < 24:
        return None
    return _Placed(x + x0, y + y0, warped[..., :3].astype(np.float32), warped[..., 3])


def _leaves_visible(ids: np.ndarray, placed: _Placed, full: list[int]) -> bool:
    if not full:
        return True
    h, w = placed.alpha.shape
    under = ids[placed.y : placed.y + h, placed.x : placed.x + w]
    hit = under[(placed.alpha > 127) & (under >= 0)]
    if not len(hit):
        return True
    shows = np.bincount(ids[ids >= 0], minlength=len(full))
    left = shows - np.bincount(hit, minlength=len(full))
    return bool((left >= LEAST_VISIBLE * np.array(full)).all())


def _paint(
    canvas: np.ndarray, ids: np.ndarray, placed: _Placed, index: int, rng: Generator
) -> None:
    h, w = placed.alpha.shape
    there = (slice(placed.y, placed.y + h), slice(placed.x, placed.x + w))
    cover = placed.alpha[..., None].astype(np.float32) / 255
    bright = rng.uniform(0.85, 1.08)
    canvas[there] = np.clip(canvas[there] * (1 - cover) + placed.rgb * bright, 0, 255)
    ids[there][placed.alpha > 127] = index


def _tight_boxes(ids: np.ndarray, count: int) -> np.ndarray:
    boxes = np.zeros((count, 4), np.float32)
    for k in range(count):
        seen = ids == k
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        boxes[k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def _finish(canvas: np.ndarray, rng: Generator) -> np.ndarray:
    """What a camera and a file format add: blur, light, grain, JPEG."""
    if rng.random() < 0.25:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.5:
        gain, lift = rng.uniform(0.8, 1.15, 3) ** 0.5, rng.uniform(-12, 12)
        canvas = cv2.LUT(canvas, _curve(gain, lift))
    if rng.random() < 0.3:
        grain = rng.integers(-9, 10, canvas.shape, dtype=np.int16)
        canvas = np.clip(canvas + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(45, 95))
        _, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, quality])
        canvas = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return canvas


def _curve(gain: np.ndarray, lift: float) -> np.ndarray:
    steps = np.arange(256)[:, None] * gain + lift
    return np.clip(steps, 0, 255).astype(np.uint8).reshape(256, 1, 3)
