"""Draws the sample pictures of demos/images: our own, so that they may travel anywhere.

    python tools/draw_demos.py [--out demos/images]

The emoji font of tools/scenes/glyphs.py has to be there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image
from scenes.glyphs import SPRITE, load_concepts, render_sprites
from scenes.shapes import draw_shape

H, W = 480, 640
Placed = tuple[str, int, int, int, int]  # what, center x, center y, longer side, turn in degrees

PARK: list[Placed] = [
    ("balloon", 560, 75, 95, 6),
    ("cloud", 130, 80, 120, 0),
    ("cloud", 360, 55, 90, 4),
    ("fir tree", 70, 250, 170, 0),
    ("fir tree", 165, 265, 130, 0),
    ("palm tree", 575, 255, 190, 0),
    ("tent", 300, 265, 120, 0),
    ("kite", 430, 130, 80, -10),
    ("dog", 210, 395, 110, 0),
    ("cat", 90, 410, 95, 0),
    ("soccer ball", 335, 425, 48, 15),
    ("bicycle", 480, 390, 140, 0),
]
TABLE: list[Placed] = [
    ("coffee cup", 110, 150, 120, 0),
    ("croissant", 265, 120, 120, 10),
    ("fried egg", 425, 150, 130, 0),
    ("strawberry", 555, 95, 70, -15),
    ("strawberry", 590, 170, 64, 12),
    ("banana", 130, 335, 130, 0),
    ("apple", 265, 300, 92, 0),
    ("apple", 345, 365, 88, 8),
    ("pancakes", 480, 330, 140, 0),
    ("spoon", 590, 395, 110, 20),
    ("key", 235, 425, 60, -20),
]
STREET: list[Placed] = [
    ("house", 90, 175, 150, 0),
    ("church", 255, 160, 165, 0),
    ("house", 430, 180, 140, 0),
    ("christmas tree", 560, 185, 130, 0),
    ("traffic light", 345, 235, 95, 0),
    ("car", 120, 355, 135, 0),
    ("bus", 310, 350, 165, 0),
    ("ambulance", 510, 355, 150, 0),
    ("bicycle", 215, 435, 90, 0),
    ("stop sign", 605, 280, 62, 0),
]
SHAPES: list[tuple[str, str, str, int, int, int, int]] = [
    ("star", "red", "plain", 105, 110, 130, -8),
    ("star", "yellow", "dotted", 270, 95, 115, 10),
    ("circle", "blue", "striped", 440, 115, 130, 0),
    ("heart", "pink", "plain", 565, 110, 105, 6),
    ("square", "green", "checkered", 100, 280, 115, 8),
    ("triangle", "orange", "plain", 260, 275, 125, 0),
    ("ring", "purple", "plain", 410, 275, 120, 0),
    ("arrow", "black", "plain", 560, 270, 125, -12),
    ("star", "blue", "plain", 90, 415, 80, 0),
    ("cross", "red", "striped", 230, 410, 95, 10),
    ("crescent", "yellow", "plain", 375, 415, 95, 0),
    ("hexagon", "brown", "dotted", 520, 410, 105, 0),
]


def gradient(top: tuple[int, ...], bottom: tuple[int, ...]) -> np.ndarray:
    """A picture that fades from one color to another: H x W x 3 float."""
    mix = np.linspace(0, 1, H)[:, None, None]
    return np.broadcast_to(np.array(top) * (1 - mix) + np.array(bottom) * mix, (H, W, 3)).copy()


def hill(
    canvas: np.ndarray, color: tuple[int, ...], level: float, swing: float, phase: float
) -> None:
    """Fills what lies under a wave."""
    x = np.arange(W + 1)
    y = level + swing * np.sin(x / 110 + phase)
    corners = [*np.stack([x, y], axis=1), (W, H), (0, H)]
    cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], color, cv2.LINE_AA)


def paste(canvas: np.ndarray, sprite: np.ndarray, x: int, y: int, longer: int, turn: int) -> None:
    """Puts a sprite with its center at x, y, with a soft shadow under it."""
    scale = longer / SPRITE
    if scale < 0.7:
        side = max(8, int(SPRITE * scale * 1.4))
        sprite = cv2.resize(sprite, (side, side), interpolation=cv2.INTER_AREA)
    n = sprite.shape[0]
    matrix = cv2.getRotationMatrix2D((n / 2, n / 2), turn, longer / n)
    matrix[:, 2] += (x - n / 2, y - n / 2)
    rgba = cv2.warpAffine(sprite, matrix, (W, H), flags=cv2.INTER_CUBIC).astype(np.float64)
    cover = rgba[..., 3:] / 255
    shadow = cv2.GaussianBlur(np.roll(cover[..., 0], (4, 3), (0, 1)), (0, 0), 4)[..., None]
    canvas *= 1 - 0.25 * shadow * (1 - cover)
    canvas *= 1 - cover
    canvas += rgba[..., :3]


def glyph_picture(canvas: np.ndarray, placed: list[Placed]) -> np.ndarray:
    """Glyphs on a background: H x W x 3 uint8."""
    first = {name: glyphs[0] for name, glyphs in load_concepts().items()}
    sprites = render_sprites([first[name] for name, *_ in placed])
    for name, x, y, longer, turn in placed:
        paste(canvas, sprites[first[name]], x, y, longer, turn)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def park() -> np.ndarray:
    canvas = gradient((126, 190, 238), (214, 236, 250))
    hill(canvas, (150, 196, 132), 260, 22, 0.4)
    hill(canvas, (118, 178, 104), 315, 16, 2.2)
    hill(canvas, (138, 196, 110), 365, 8, 4.0)
    return glyph_picture(canvas, PARK)


def table(rng: Generator) -> np.ndarray:
    grain = cv2.resize(rng.random((H // 4, 8)), (W, H), interpolation=cv2.INTER_CUBIC)
    canvas = gradient((196, 160, 122), (176, 138, 100)) + ((grain - 0.5) * 22)[..., None]
    for y in range(0, H, 120):
        canvas[y : y + 2] *= 0.8
    return glyph_picture(canvas, TABLE)


def street() -> np.ndarray:
    canvas = gradient((250, 214, 170), (252, 236, 214))
    canvas[235:300] = (196, 200, 190)
    canvas[300:] = (112, 116, 124)
    for x in range(10, W, 110):
        canvas[398:404, x : x + 60] = (236, 232, 210)
    return glyph_picture(canvas, STREET)


def shapes(rng: Generator) -> np.ndarray:
    canvas = gradient((244, 240, 230), (228, 224, 216))
    for noun, color, pattern, x, y, longer, turn in SHAPES:
        paste(canvas, draw_shape(noun, color, pattern, rng), x, y, longer, turn)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demos/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    pictures = {"park": park(), "breakfast": table(rng), "street": street(), "shapes": shapes(rng)}
    for name, picture in pictures.items():
        path = arguments.out / f"{name}.jpg"
        Image.fromarray(picture).save(path, quality=90)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
