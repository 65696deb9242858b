"""Backgrounds: procedural textures, H x W x 3 uint8."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator


def _palette(rng: Generator, count: int) -> np.ndarray:
    """Colors that go together: count x 3 in 0..255, mostly muted, around one brightness."""
    base = rng.uniform(20, 235, 3)
    spread = rng.choice([12.0, 30.0, 70.0])
    return np.clip(base + rng.normal(0, spread, (count, 3)), 0, 255)


def _noise(hw: tuple[int, int], cells: int, rng: Generator) -> np.ndarray:
    """Smooth noise in 0..1: H x W."""
    grid = rng.random((cells + 2, cells + 2), dtype=np.float32)
    return np.clip(cv2.resize(grid, hw[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)


def _blend(a: np.ndarray, b: np.ndarray, mix: np.ndarray) -> np.ndarray:
    return a.astype(np.float32) + (b - a).astype(np.float32) * mix[..., None].astype(np.float32)


def _plain(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    return np.broadcast_to(_palette(rng, 1)[0], (*hw, 3))


def _gradient(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    corners = _palette(rng, 4).reshape(2, 2, 3).astype(np.float32)
    return cv2.resize(corners, hw[::-1], interpolation=cv2.INTER_LINEAR)


def _clouds(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    a, b = _palette(rng, 2)
    mix = sum(_noise(hw, 2 ** (k + 1), rng) / 2**k for k in range(4)) / 1.875
    return _blend(a, b, mix)


def _waves(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    """Stripes, or a grid: cloth, tiles, corrugated iron."""
    a, b = _palette(rng, 2)
    y, x = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
    c, s = (np.float32(2 * np.pi / period * f(angle)) for f in (np.cos, np.sin))
    u = np.sin(x * c + y * s)
    if rng.random() < 0.4:
        u = u * np.sin(y * c - x * s)
    sharp = np.float32(rng.choice([0.5, 4.0]))
    return _blend(a, b, np.clip(u * sharp + np.float32(0.5), 0, 1))


def _patches(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    """Large flat regions with straight edges: walls, tables, horizons."""
    canvas = np.empty((*hw, 3), np.float32)
    colors = _palette(rng, 5)
    canvas[:] = colors[0]
    for color in colors[1:]:
        center = rng.uniform(0, 1, 2) * hw[::-1]
        direction = rng.normal(size=2)
        direction /= np.linalg.norm(direction)
        along = np.array([-direction[1], direction[0]])
        far = 2 * max(hw)
        corners = [center + along * far, center - along * far]
        corners += [c + direction * far for c in corners[::-1]]
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], color.tolist())
    return canvas


KINDS = (_plain, _gradient, _clouds, _waves, _patches)


def draw_texture(hw: tuple[int, int], rng: Generator) -> np.ndarray:
    """One background of a random kind, with a little grain: H x W x 3 uint8."""
    canvas = KINDS[int(rng.integers(len(KINDS)))](hw, rng)
    if rng.random() < 0.5:
        grain = (_noise(hw, int(rng.integers(8, 48)), rng) - np.float32(0.5)) * 40
        canvas = canvas.astype(np.float32) + grain[..., None]
    return np.clip(canvas, 0, 255).astype(np.uint8)
