"""Polygons: the outline of a mask along the edges of its pixels.

Corners lie on whole numbers, where pixel i covers [i, i + 1): drawing a polygon back gives the same
pixels. An outline through pixel centres, as OpenCV traces it, would be half a pixel too small on
every side.
"""

from __future__ import annotations

import numpy as np

from perception.types import BoolArray, FloatArray

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def mask_to_polygons(mask: BoolArray) -> list[FloatArray]:
    """The outer outlines of a mask H x W, each K x 2 (x, y), clockwise, in pixels.

    One polygon per 4-connected region. Holes are filled: keep the run lengths where they matter.
    """
    edges = _directed_edges(mask)
    rings = []
    for y, x in np.argwhere(edges[_RIGHT]):
        if edges[_RIGHT, y, x]:
            ring = np.array(_walk(edges, int(x), int(y)), np.float32)
            if _turns_clockwise(ring):
                rings.append(ring)
    return rings


def _directed_edges(mask: BoolArray) -> BoolArray:
    """Which pixel edges are outline, 4 x (H + 1) x (W + 1): by direction, then by start corner.

    Directions are such that the inside is on the right.
    """
    height, width = mask.shape
    inside = np.pad(np.asarray(mask, np.bool_), 1)
    core = inside[1:-1, 1:-1]
    edges = np.zeros((4, height + 1, width + 1), np.bool_)
    edges[_RIGHT, :height, :width] = core & ~inside[:-2, 1:-1]
    edges[_DOWN, :height, 1:] = core & ~inside[1:-1, 2:]
    edges[_LEFT, 1:, 1:] = core & ~inside[2:, 1:-1]
    edges[_UP, 1:, :width] = core & ~inside[1:-1, :-2]
    return edges


def _walk(edges: BoolArray, x: int, y: int) -> list[tuple[int, int]]:
    """Follows the outline that leaves corner (x, y) to the right; clears the edges it used.

    Where two regions touch at a corner, turning right first stays with the same region.
    """
    corners: list[tuple[int, int]] = []
    direction, previous = _RIGHT, -1
    while edges[direction, y, x]:
        edges[direction, y, x] = False
        if direction != previous:
            corners.append((x, y))
        step_x, step_y = _STEPS[direction]
        x, y, previous = x + step_x, y + step_y, direction
        for turn in (1, 0, 3):
            direction = (previous + turn) % 4
            if edges[direction, y, x]:
                break
    return corners


def _turns_clockwise(ring: FloatArray) -> bool:
    """Outer outlines turn clockwise on the screen (y down), holes the other way."""
    x, y = ring.astype(np.float64).T
    return bool(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0)
