"""Polygons: the outline of a mask along the edges of its pixels.

Corners lie on whole numbers, where pixel i covers [i, i + 1): drawing a polygon back gives the same
pixels. An outline through pixel centres, as OpenCV traces it, would be half a pixel too small on
every side. A hole is cut out by a way of no width, from the outline to the hole and back: what is
inside by the rule of even and odd is the mask, and so is the area that the corners give.
"""

from __future__ import annotations

import numpy as np

from perception.types import BoolArray, FloatArray, IntArray

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_NOBODY = -1


def mask_to_polygons(mask: BoolArray) -> list[FloatArray]:
    """The outlines of a mask H x W, each K x 2 (x, y), clockwise, in pixels; holes are cut out.

    One polygon per 4-connected region.
    """
    edges = _directed_edges(mask)
    owner = np.full(edges.shape[1:], _NOBODY, np.int64)
    rings: list[FloatArray] = []
    for y, x in np.argwhere(edges[_RIGHT]):
        if edges[_RIGHT, y, x]:
            rings.append(_walk(edges, int(x), int(y), owner, len(rings)))
    return _with_holes(rings, owner)


def _with_holes(rings: list[FloatArray], owner: IntArray) -> list[FloatArray]:
    """The outer ones of some rings, with ways to the holes; owner: a ring through each corner."""
    outer = {n: ring for n, ring in enumerate(rings) if _turns_clockwise(ring)}
    home = {n: n for n in outer}
    # From top to bottom: what lies above a hole has its home when the hole looks for one.
    holes = [(ring[:, 1].min(), n) for n, ring in enumerate(rings) if n not in outer]
    for _, n in sorted(holes):
        hole = rings[n]
        first = int(np.lexsort(hole.T)[0])  # The uppermost corner, of several the left one.
        hole = np.roll(hole, -first, axis=0)
        x, y = hole[0].astype(int)
        above = int(np.flatnonzero(owner[:y, x] != _NOBODY)[-1])
        home[n] = home[int(owner[above, x])]
        outer[home[n]] = _joined(outer[home[n]], np.array([x, above], np.float32), hole)
    return list(outer.values())


def _joined(outline: FloatArray, place: FloatArray, hole: FloatArray) -> FloatArray:
    """An outline that goes to a hole's first corner and back, from a place on it."""
    following = np.roll(outline, -1, axis=0)
    low, high = np.minimum(outline, following), np.maximum(outline, following)
    start = int(np.flatnonzero(((low <= place) & (place <= high)).all(axis=1))[0])
    there = [place[None]] if (outline[start] != place).any() else []
    back = [place[None]] if (following[start] != place).any() else []
    way = [*there, hole, hole[:1], *back]
    return np.concatenate([outline[: start + 1], *way, outline[start + 1 :]])


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


def _walk(edges: BoolArray, x: int, y: int, owner: IntArray, number: int) -> FloatArray:
    """The corners, K x 2, of the outline that leaves corner (x, y) to the right.

    Clears the edges that it used, and notes its number as the owner of all that it passes. Where
    two regions touch at a corner, turning right first stays with the same region.
    """
    corners: list[tuple[int, int]] = []
    direction, previous = _RIGHT, -1
    start = (_RIGHT, y, x)
    while edges[direction, y, x]:
        edges[direction, y, x] = False
        owner[y, x] = number
        if direction != previous:
            corners.append((x, y))
        step_x, step_y = _STEPS[direction]
        x, y, previous = x + step_x, y + step_y, direction
        for turn in (1, 0, 3):
            direction = (previous + turn) % 4
            # Back at the start it ends, even if another outline leaves from there.
            if edges[direction, y, x] or (direction, y, x) == start:
                break
    return np.array(corners, np.float32)


def _turns_clockwise(ring: FloatArray) -> bool:
    """Outer outlines turn clockwise on the screen (y down), holes the other way."""
    x, y = ring.astype(np.float64).T
    return bool(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0)
