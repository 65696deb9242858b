"""Clicks that are obeyed: what a click says of the mask is certain, and only of what is near it.

A network takes a click for a hint. A person means it: after a positive click its pixel is in the
mask, after a negative one it isn't, and what was right elsewhere stays as it was. So of several
masks those count first that obey; of what an answer changes, only what hangs together with the new
click is taken over (as Chen et al. 2022, "FocalClick", merge progressively); and a click that still
isn't obeyed bends the mask around it, as far as colors are alike and half way to the mask's border
(``bent``). All arrays are in cells of the logits; a click's place is (x, y), its label 1 or 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.types import BoolArray, FloatArray, ImageArray, IntArray

SURE = 2.0
"""The log-odds of a click's own cell, at least."""

CORE = 1.5
"""Cells around a click that go with it whatever their color: a mask is interpolated between."""

HALF_WAY = 0.5
"""Of the way from a click to the border that it moves: the spread of what it bends."""

WIDEST = 12.0
"""Cells; no click bends with a greater spread."""

ALIKE = 12.0
"""The spread of colors, in CIELAB on 0..255, that go with a click."""

REACH = 0.1
"""So far from the new click a change may begin to be taken over, as a share of the mask's size."""


@dataclass(frozen=True, eq=False)
class CellClicks:
    """K clicks on the cells of logits, in their order. places: K x 2 (x, y); labels: K."""

    places: FloatArray
    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def cells(self, hw: tuple[int, int]) -> tuple[IntArray, IntArray]:
        """The row and the column of each one's cell."""
        columns, rows = (np.floor(self.places).astype(np.int64)).T
        return np.clip(rows, 0, hw[0] - 1), np.clip(columns, 0, hw[1] - 1)


def obeyed(logits: FloatArray, clicks: CellClicks) -> BoolArray:
    """Whether each of K clicks is obeyed by each of M masks M x h x w: M x K."""
    rows, columns = clicks.cells(logits.shape[1:])
    right: BoolArray = (logits[:, rows, columns] > 0) == (clicks.labels > 0)
    return right


def ranked(logits: FloatArray, quality: FloatArray, clicks: CellClicks) -> IntArray:
    """The order of M masks M x h x w: those that obey more clicks first, then by quality M."""
    disobeyed = (~obeyed(logits, clicks)).sum(axis=1)
    order: IntArray = np.lexsort((-quality, disobeyed)).astype(np.int64)
    return order


def merged(logits: FloatArray, earlier: FloatArray, clicks: CellClicks) -> FloatArray:
    """An answer h x w to the last click, and the earlier one where they differ far from it.

    Parts of the difference count as near that begin within ``REACH`` of the mask's size. What both
    agree on is the new answer's.
    """
    import cv2

    changed = (logits > 0) != (earlier > 0)
    count, parts = cv2.connectedComponents(changed.view(np.uint8), connectivity=8)
    if count <= 1:
        return logits
    size = float(np.sqrt(max((logits > 0).sum(), (earlier > 0).sum())))
    near = parts[_distance_from(clicks.places[-1], logits.shape) <= max(REACH * size, CORE)]
    taken = np.zeros(count, np.bool_)
    taken[near] = True
    taken[0] = True
    kept: FloatArray = np.where(taken[parts], logits, earlier)
    return kept


def bent(logits: FloatArray, clicks: CellClicks, colours: ImageArray | None = None) -> FloatArray:
    """A mask's logits h x w, changed around the clicks that they don't obey.

    colours: what the cells show, h x w x 3 in CIELAB; None: they say nothing.
    """
    out = logits
    for n in range(len(clicks)):
        one = CellClicks(clicks.places[n : n + 1], clicks.labels[n : n + 1])
        if not obeyed(out[None], one)[0, 0]:
            out = _bent_once(out, one, colours)
    return _with_cores(out, clicks)


def _bent_once(logits: FloatArray, click: CellClicks, colours: ImageArray | None) -> FloatArray:
    import cv2

    place, sign = click.places[0], 1.0 if click.labels[0] else -1.0
    rows, columns = click.cells(logits.shape)
    row, column = int(rows[0]), int(columns[0])
    away = _distance_from(place, logits.shape)
    there = (logits > 0) == (sign > 0)  # what is on the click's side already
    border = float(away[there].min()) if there.any() else WIDEST / HALF_WAY
    spread = float(np.clip(HALF_WAY * border, 1.0, WIDEST))
    weight = np.exp(-(away**2) / (2 * spread**2))
    if colours is not None:
        lab = colours.astype(np.float32)
        around = lab[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        step = ((lab - np.median(around, axis=(0, 1))) ** 2).sum(axis=2)
        weight = weight * cv2.blur(np.exp(-step / (2 * ALIKE**2)), (3, 3))
    needed = SURE - sign * float(logits[row, column])
    out: FloatArray = (logits + sign * needed * weight).astype(np.float32)
    return out


def _with_cores(logits: FloatArray, clicks: CellClicks) -> FloatArray:
    """Every click's cell surely on its side, and those around it where one of them isn't.

    A mask is interpolated between its cells: a click is near the border of its own.
    """
    out = logits.copy()
    for place, label in zip(clicks.places, clicks.labels, strict=True):
        sign = 1.0 if label else -1.0
        core = _distance_from(place, logits.shape) <= CORE
        if (sign * out[core] < 0).any():
            out[core] = sign * np.maximum(sign * out[core], SURE)
    for row, column, label in zip(*clicks.cells(logits.shape), clicks.labels, strict=True):
        sign = 1.0 if label else -1.0
        out[row, column] = sign * max(sign * out[row, column], SURE)
    return out


def _distance_from(place: Sequence[float] | FloatArray, hw: tuple[int, ...]) -> FloatArray:
    """How far the middle of each cell is from a place (x, y), h x w."""
    y = np.arange(hw[0], dtype=np.float32)[:, None] + 0.5 - place[1]
    x = np.arange(hw[1], dtype=np.float32)[None] + 0.5 - place[0]
    distance: FloatArray = np.hypot(x, y)
    return distance
