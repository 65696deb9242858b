"""Shapes with a color, a pattern and a size: the things that are found by their attributes."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.random import Generator

from scenes.glyphs import SPRITE

NOUNS = (
    *("circle", "ellipse", "square", "rectangle", "triangle", "diamond", "pentagon", "hexagon"),
    *("star", "heart", "cross", "ring", "crescent", "arrow"),
)
PATTERNS = ("plain", "striped", "dotted", "checkered")
SIZES = ("small", "large")

# Hue in degrees, saturation and value in 0..1, as (low, high). Gaps keep the names unambiguous.
COLORS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 6), (0.80, 1.0), (0.70, 0.95)),
    "orange": ((24, 33), (0.85, 1.0), (0.90, 1.0)),
    "yellow": ((49, 58), (0.75, 1.0), (0.92, 1.0)),
    "green": ((95, 145), (0.60, 1.0), (0.40, 0.80)),
    "blue": ((205, 232), (0.70, 1.0), (0.55, 1.0)),
    "purple": ((270, 290), (0.55, 0.9), (0.45, 0.75)),
    "pink": ((325, 345), (0.30, 0.50), (0.95, 1.0)),
    "brown": ((20, 30), (0.60, 0.80), (0.35, 0.52)),
    "black": ((0, 360), (0.0, 0.15), (0.02, 0.12)),
    "white": ((0, 360), (0.0, 0.04), (0.95, 1.0)),
    "grey": ((0, 360), (0.0, 0.06), (0.42, 0.62)),
}


_Y, _X = np.mgrid[:SPRITE, :SPRITE].astype(np.float32)


def sample_color(name: str, rng: Generator) -> np.ndarray:
    """A color that bears the name: RGB 3, float in 0..255."""
    hue, saturation, value = (rng.uniform(*span) for span in COLORS[name])
    return 255 * np.array(colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value))


def _regular(corners: int, radius: float = 1.0, turn: float = -90.0) -> np.ndarray:
    angles = np.deg2rad(turn + np.arange(corners) * 360 / corners)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(waist: float) -> np.ndarray:
    return np.stack([_regular(5), _regular(5, waist, -54)], axis=1).reshape(-1, 2)


def _heart(around: np.ndarray) -> np.ndarray:
    x = np.sin(around) ** 3
    y = -(13 * np.cos(around) - 5 * np.cos(2 * around) - 2 * np.cos(3 * around)) / 16
    return np.stack([x, y + np.cos(4 * around) / 16], axis=1)


def _cross(w: float) -> np.ndarray:
    quarter = np.array([(w, -1), (w, -w), (1, -w)])
    turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _arrow(w: float, head: float) -> np.ndarray:
    upper = [(-1, -w), (0.1, -w), (0.1, -head), (1, 0)]
    return np.array(upper + [(x, -y) for x, y in upper[-2::-1]])


def outline(noun: str, rng: Generator) -> np.ndarray:
    """Corners of a shape in the square -1..1: K x 2. Ring and crescent get their hole later.

    The tip of the heart reaches 1.06, and the sprite's edge blunts it.
    """
    thin = rng.uniform(0.42, 0.62)
    around = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    unit = np.stack([np.cos(around), np.sin(around)], axis=1)
    box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    match noun:
        case "circle" | "ring" | "crescent":
            return unit
        case "ellipse":
            return unit * (1, thin)
        case "square":
            return box * 0.88
        case "rectangle":
            return box * (1, thin)
        case "triangle":
            return np.array([(0, -0.9), (1, 0.85), (-1, 0.85)])
        case "diamond":
            return _regular(4) * (rng.uniform(0.6, 0.75), 1)
        case "pentagon":
            return _regular(5)
        case "hexagon":
            return _regular(6, turn=0.0)
        case "star":
            return _star(rng.uniform(0.38, 0.48))
        case "heart":
            return _heart(around)
        case "cross":
            return _cross(rng.uniform(0.28, 0.38))
        case "arrow":
            return _arrow(rng.uniform(0.2, 0.3), rng.uniform(0.55, 0.75))
    raise ValueError(f"no shape is called {noun!r}")


def _mask(noun: str, rng: Generator) -> np.ndarray:
    """How much of each pixel the shape covers: SPRITE x SPRITE uint8."""

    def fill(corners: np.ndarray, value: int) -> None:
        pixels = (corners * 0.97 * SPRITE / 2 + SPRITE / 2) * 16
        cv2.fillPoly(alpha, [np.round(pixels).astype(np.int32)], value, cv2.LINE_AA, shift=4)

    alpha = np.zeros((SPRITE, SPRITE), np.uint8)
    corners = outline(noun, rng)
    fill(corners, 255)
    if noun == "ring":
        fill(corners * rng.uniform(0.5, 0.65), 0)
    if noun == "crescent":
        fill(corners * 0.85 + (rng.uniform(0.4, 0.5), -0.1), 0)
    return alpha


def _pattern(name: str, rng: Generator) -> np.ndarray:
    """Where the second color shows: SPRITE x SPRITE, float in 0..1."""
    period = rng.uniform(20, 32)
    angle = rng.uniform(0, np.pi)
    c, s = (np.float32(2 * np.pi / period * f(angle)) for f in (np.cos, np.sin))
    u, v = _X * c + _Y * s, _Y * c - _X * s
    match name:
        case "striped":
            wave = np.sin(u)
        case "dotted":
            wave = np.cos(u) + np.cos(v) - rng.uniform(0.5, 0.8)
        case "checkered":
            wave = np.sin(u) * np.sin(v) * 2
        case "plain":
            return np.zeros((SPRITE, SPRITE), np.float32)
        case _:
            raise ValueError(f"no pattern is called {name!r}")
    return np.clip(wave * np.float32(period / 8) + np.float32(0.5), 0, 1)


def _second_color(first: np.ndarray, color: str, rng: Generator) -> np.ndarray:
    """A color that shows on the first one and doesn't make it another: RGB 3, in 0..255."""
    light = first.mean() > 140 and color != "grey"
    if color == "white":
        return np.full(3, rng.uniform(90, 130))
    if color == "black":
        return np.full(3, rng.uniform(170, 255))
    if rng.random() < 0.5:
        return first * 0.45 if light else first * 0.4 + 153
    return np.full(3, 25.0) if light else np.full(3, 245.0)


def draw_shape(noun: str, color: str, pattern: str, rng: Generator) -> np.ndarray:
    """A sprite: SPRITE x SPRITE x 4, premultiplied RGBA, uint8."""
    alpha = _mask(noun, rng)
    first = sample_color(color, rng)
    second = _second_color(first, color, rng)
    mix = _pattern(pattern, rng)[..., None]
    rgb = first.astype(np.float32) + (second - first).astype(np.float32) * mix
    light = alpha.astype(np.float32) / 255  # premultiplied
    if rng.random() < 0.4:  # shading from one side to the other
        ramp = np.linspace(1, rng.uniform(0.75, 0.95), SPRITE, dtype=np.float32)
        light *= ramp[:, None] if rng.random() < 0.5 else ramp[None, :]
    if rng.random() < 0.3:  # a thin darker edge
        width = int(rng.integers(3, 7))
        inner = cv2.erode(alpha, np.ones((width, width), np.uint8))
        light *= np.where(inner > 127, np.float32(1), np.float32(0.35))
    rgb *= light[..., None]
    return np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), alpha])
