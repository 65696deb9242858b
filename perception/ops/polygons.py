"""Polygons: the outline of a mask along the edges of its pixels.

Corners lie on whole numbers, where pixel i covers [i, i + 1): drawing a polygon back gives the same
pixels. An outline through pixel centers, as OpenCV traces it, would be half a pixel too small on
every side. A hole is cut out by a way of no width, from the outline to the hole and back: what is
inside by the rule of even and odd is the mask, and so is the area that the corners give.

A simplified outline has few corners, for a hand to edit. Along a slanted edge pixels make steps: it
goes through the middle of these, and of what is left Douglas and Peucker (1973), "Algorithms for
the reduction of the number of points required to represent a digitized line or its caricature",
leave out whatever is within a tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perception.types import BoolArray, FloatArray, IntArray

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_NOBODY = -1

MIN_IOU = 0.95
"""Of what simplified outlines enclose, as pycocotools draws it, with the mask; never less."""

_MIN_TOLERANCE = 0.1
"""Pixels; if even this leaves too little of a mask, its outline stays as it is."""


def mask_to_polygons(mask: BoolArray, simplify: float = 0.0) -> list[FloatArray]:
    """The outlines of a mask H x W, each K x 2 (x, y), clockwise, in pixels; holes are cut out.

    One polygon per 4-connected region.

    Args:
        mask: H x W.
        simplify: How far a simplified outline may be from the middle of the pixels' steps, in
            pixels; 0 keeps all corners. It is halved as often as the IoU with the mask needs to
            reach ``MIN_IOU``.
    """
    rings, passed = _rings(mask)
    while simplify >= _MIN_TOLERANCE:
        polygons = _with_holes(rings, passed, [_simplified(ring, simplify) for ring in rings])
        if _iou(mask, polygons) >= MIN_IOU:
            return polygons
        simplify /= 2
    return _with_holes(rings, passed, rings)


def _rings(mask: BoolArray) -> tuple[list[FloatArray], IntArray]:
    """All outlines, those of holes the other way round; and see ``_walk``."""
    edges = _directed_edges(mask)
    passed = np.full((2, *edges.shape[1:]), _NOBODY, np.int32)
    rings: list[FloatArray] = []
    for y, x in np.argwhere(edges[_RIGHT]):
        if edges[_RIGHT, y, x]:
            rings.append(_walk(edges, int(x), int(y), passed, len(rings)))
    return rings, passed


def _simplified(ring: FloatArray, tolerance: float) -> FloatArray:
    """A ring with fewer corners; the ring itself where it has as few, or nothing would be left."""
    import cv2

    few = cv2.approxPolyDP(_without_steps(ring)[:, None], tolerance, True)[:, 0].astype(np.float32)
    better = 2 < len(few) < len(ring) and _area(few) * _area(ring) > 0
    return few if better else ring


def _without_steps(ring: FloatArray) -> FloatArray:
    """A ring K x 2 through the middle of all its sides, and those corners that aren't steps'.

    A step is a side of one pixel at whose ends the ring turns to different sides: in a straight
    line of pixels one of two sides that meet is always one. Its corners are cut off.
    """
    sides = np.roll(ring, -1, axis=0) - ring
    lengths = np.abs(sides).sum(axis=1)
    ahead = sides / lengths[:, None]
    behind = np.roll(ahead, 1, axis=0)
    turns = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]  # at the start of each side
    steps = (lengths == 1) & (turns != np.roll(turns, -1))
    kept = ~(steps | np.roll(steps, 1))
    places = np.stack([ring, ring + sides / 2], axis=1).reshape(-1, 2)
    through: FloatArray = places[np.stack([kept, np.ones_like(kept)], axis=1).reshape(-1)]
    return through


def _iou(mask: BoolArray, polygons: Sequence[FloatArray]) -> float:
    """The intersection over union of a mask with what pycocotools draws of polygons."""
    from pycocotools import mask as coco_mask

    if not polygons:
        return 1.0
    flat = [polygon.ravel().astype(np.float64).tolist() for polygon in polygons]
    drawn = coco_mask.merge(coco_mask.frPyObjects(flat, *mask.shape))
    own = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return float(coco_mask.iou([drawn], [own], [0])[0, 0])


class _Way(NamedTuple):
    """From an outline's side, so far from its start, to a hole and back."""

    side: int
    distance: float
    hole: FloatArray


def _with_holes(
    rings: Sequence[FloatArray], passed: IntArray, drawn: Sequence[FloatArray]
) -> list[FloatArray]:
    """The outer ones of some rings, with ways to the holes; passed: see ``_walk``.

    drawn: the rings as they are to be drawn, which may be simplified.
    """
    ways: list[list[_Way]] = [[] for _ in rings]
    outer = {n: ring for n, ring in enumerate(rings) if _area(ring) > 0}
    # From bottom to top: a hole has its own ways before there is a way to it from above.
    for n in sorted(range(len(rings)), key=lambda n: -rings[n][:, 1].min()):
        ring = _with_ways(drawn[n], ways[n])
        if n in outer:
            outer[n] = ring
            continue
        corner = _uppermost(drawn[n])
        x, y = _uppermost(rings[n]).astype(int)
        above = int(np.flatnonzero(passed[0, :y, x] != _NOBODY)[-1])
        owner, side = passed[:, above, x].tolist()
        ring = np.roll(ring, -int(np.flatnonzero((ring == corner).all(axis=1))[0]), axis=0)
        if drawn is rings:
            distance = float(np.abs(rings[owner][side] - (x, above)).sum())
        else:
            side, distance = _nearest_place(drawn[owner], corner)
        ways[owner].append(_Way(side, distance, ring))
    return list(outer.values())


def _uppermost(ring: FloatArray) -> FloatArray:
    """The uppermost corner of a ring K x 2, of several the left one."""
    corner: FloatArray = ring[np.lexsort(ring.T)[0]]
    return corner


def _nearest_place(ring: FloatArray, corner: FloatArray) -> tuple[int, float]:
    """Where a ring K x 2 comes nearest to a corner: on which side, how far from its start."""
    sides = np.roll(ring, -1, axis=0) - ring
    lengths = np.maximum(np.hypot(*sides.T), np.finfo(np.float32).tiny)
    along = ((corner - ring) * sides).sum(axis=1) / lengths
    along = np.clip(along, 0, lengths)
    away = np.hypot(*(ring + sides * (along / lengths)[:, None] - corner).T)
    side = int(away.argmin())
    return side, float(along[side])


def _with_ways(ring: FloatArray, ways: list[_Way]) -> FloatArray:
    """A ring that goes each of the ways as it comes by."""
    parts, done = [], 0
    for side, distance, hole in sorted(ways, key=lambda way: way[:2]):
        parts.append(ring[done : side + 1])
        done = side + 1
        # The way leads to the hole's uppermost corner, from this place on the side.
        ahead = ring[(side + 1) % len(ring)] - ring[side]
        place = (ring[side] + ahead * np.float32(distance / max(np.hypot(*ahead), 1e-9)))[None]
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


def _area(ring: FloatArray) -> float:
    """The area that a ring encloses: more than 0 if it turns clockwise on the screen (y down).

    Outer outlines do, those of holes don't.
    """
    x, y = ring.astype(np.float64).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)
