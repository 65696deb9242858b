"""Polygons: the outline of a mask along the edges of its pixels.

Corners lie on whole numbers, where pixel i covers [i, i + 1): drawing a polygon back gives the same
pixels. An outline through pixel centres, as OpenCV traces it, would be half a pixel too small on
every side. A hole is cut out by a way of no width, from the outline to the hole and back: what is
inside by the rule of even and odd is the mask, and so is the area that the corners give.
"""

from __future__ import annotations

from typing import NamedTuple

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
    passed = np.full((2, *edges.shape[1:]), _NOBODY, np.int32)
    rings: list[FloatArray] = []
    for y, x in np.argwhere(edges[_RIGHT]):
        if edges[_RIGHT, y, x]:
            rings.append(_walk(edges, int(x), int(y), passed, len(rings)))
    return _with_holes(rings, passed)


class _Way(NamedTuple):
    """From an outline's side, so far from its start, to a hole and back."""

    side: int
    distance: float
    hole: FloatArray


def _with_holes(rings: list[FloatArray], passed: IntArray) -> list[FloatArray]:
    """The outer ones of some rings, with ways to the holes; passed: see ``_walk``."""
    ways: list[list[_Way]] = [[] for _ in rings]
    outer = {n: ring for n, ring in enumerate(rings) if _turns_clockwise(ring)}
    # From bottom to top: a hole has its own ways before there is a way to it from above.
    for n in sorted(range(len(rings)), key=lambda n: -rings[n][:, 1].min()):
        ring = _with_ways(rings[n], ways[n])
        if n in outer:
            outer[n] = ring
            continue
        corner = rings[n][np.lexsort(rings[n].T)[0]]  # The uppermost one, of several the left one.
        ring = np.roll(ring, -int(np.flatnonzero((ring == corner).all(axis=1))[0]), axis=0)
        x, y = corner.astype(int)
        above = int(np.flatnonzero(passed[0, :y, x] != _NOBODY)[-1])
        owner, side = passed[:, above, x].tolist()
        distance = float(np.abs(rings[owner][side] - (x, above)).sum())
        ways[owner].append(_Way(side, distance, ring))
    return list(outer.values())


def _with_ways(ring: FloatArray, ways: list[_Way]) -> FloatArray:
    """A ring that goes each of the ways as it comes by."""
    parts, done = [], 0
    for side, distance, hole in sorted(ways, key=lambda way: way[:2]):
        parts.append(ring[done : side + 1])
        done = side + 1
        # The way leads straight down to the hole's first corner, from this place on the side.
        start, end = ring[side], ring[(side + 1) % len(ring)]
        place = (start + np.sign(end - start) * np.float32(distance))[None]
        parts += [place, hole, hole[:1], place] if distance else [hole, hole[:1], place]
    return np.concatenate([*parts, ring[done:]])


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


def _walk(edges: BoolArray, x: int, y: int, passed: IntArray, number: int) -> FloatArray:
    """The corners, K x 2, of the outline that leaves corner (x, y) to the right.

    Clears the edges that it used. passed: 2 x (H + 1) x (W + 1), notes the outline's number and the
    number of its side, from one corner to the next, at all places that it passes. Where two regions
    touch at a corner, turning right first stays with the same region.
    """
    corners: list[tuple[int, int]] = []
    direction, previous = _RIGHT, -1
    start = (_RIGHT, y, x)
    while edges[direction, y, x]:
        edges[direction, y, x] = False
        if direction != previous:
            corners.append((x, y))
        passed[:, y, x] = number, len(corners) - 1
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
