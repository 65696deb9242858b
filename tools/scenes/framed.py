"""Scenes as a model's input shows them: in the corner of a square, with padding."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from scenes.scene import Painter, Scene, Style

PADDING = (124, 116, 104)  # the mean color: what a frame pads with zeros after normalising

Background = Callable[[tuple[int, int], Generator], np.ndarray]
"""Gives a picture H x W x 3 uint8 of the size that is asked for."""


def draw_framed(
    painter: Painter, side: int, rng: Generator, style: Style, background: Background | None = None
) -> Scene:
    """A scene of a random aspect ratio in the corner of a side x side picture.

    The boxes are scaled with the picture, so that they fit what shows to within a pixel.
    """
    shape = np.array([1.0, rng.uniform(0.6, 1.0)])[:: int(rng.choice([-1, 1]))]
    if rng.random() < 0.3:
        shape[:] = 1
    h, w = (int(n) for n in np.round(side * shape))
    scale = rng.choice([1, 1, 1.6])  # some are drawn larger and shrunk, as photographs are
    hw = int(h * scale), int(w * scale)
    scene = painter.draw(hw, rng, style, background(hw, rng) if background else None)
    image = np.empty((side, side, 3), np.uint8)
    image[:] = PADDING
    ids = np.full((side, side), -1, np.int16)
    image[:h, :w] = cv2.resize(scene.image, (w, h), interpolation=cv2.INTER_AREA)
    ids[:h, :w] = cv2.resize(scene.ids, (w, h), interpolation=cv2.INTER_NEAREST)
    boxes = scene.boxes * np.float32([w, h, w, h]) / np.float32(hw[::-1] * 2)
    return Scene(image, ids, boxes, scene.things)
