"""Where a Swin backbone looks in an image of any size, as lists of its cells; needs no torch.

Liu et al. 2021, "Swin Transformer": layers cut the cells into windows, every second one after a
shift, and between two stages four cells become one. Written as lists, all of it is looking rows up,
so a graph that takes them along fits every size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from perception.types import IntArray

STAGES = 4
PATCH = 4
"""Side of the patches of pixels that the first stage's cells are."""


class Windows(NamedTuple):
    """Which cells N windows of s x s hold.

    cells: N x s², which cell each place holds, and h·w, one more than there are, for padding;
    places: h·w, where the windows hold each cell; region: N x s², cells of a window see one another
    where theirs are equal.
    """

    cells: IntArray
    places: IntArray
    region: IntArray


@lru_cache(maxsize=64)
def find_windows(height: int, width: int, side: int, shift: int) -> Windows:
    """The windows of an image of h x w cells, moved by ``shift`` cells down and right.

    Those that reach over the edge go on at the other one, as if it were a ring; there, cells that
    are no neighbours are of different regions.
    """
    down, across = (-(-size // side) for size in (height, width))
    grid = np.full((down * side, across * side), height * width)
    grid[:height, :width] = np.arange(height * width).reshape(height, width)
    cells = _cut(np.roll(grid, (-shift, -shift), (0, 1)), side)
    places = np.empty(height * width, np.int64)
    inside = cells < height * width
    places[cells[inside]] = np.flatnonzero(inside)
    rows, columns = (_parts(count * side, side, shift) for count in (down, across))
    region = _cut(rows[:, None] * 3 + columns, side).reshape(-1, side * side)
    return Windows(cells.reshape(-1, side * side), places, region)


def find_quarters(height: int, width: int) -> IntArray:
    """Of h x w cells those that become one, S' x 4, column by column; h·w beyond the edge."""
    grid = _bordered(height, width, 0)
    rows, columns = -(-height // 2), -(-width // 2)
    parts = [
        grid[row : row + 2 * rows : 2, column : column + 2 * columns : 2].ravel()
        for column in (0, 1)
        for row in (0, 1)
    ]
    return np.stack(parts, axis=1)


def find_neighbours(height: int, width: int) -> IntArray:
    """The 3 x 3 cells around every second one of h x w, S' x 9; h·w beyond the edge."""
    grid = _bordered(height, width, 1)
    rows, columns = -(-height // 2), -(-width // 2)
    parts = [
        grid[row : row + 2 * rows - 1 : 2, column : column + 2 * columns - 1 : 2].ravel()
        for row in range(3)
        for column in range(3)
    ]
    return np.stack(parts, axis=1)


def level_shapes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """The (h, w) of this many levels, each half of the one before, rounded up."""
    shapes = [(height, width)]
    while len(shapes) < levels:
        height, width = -(-height // 2), -(-width // 2)
        shapes.append((height, width))
    return shapes


def plan(height: int, width: int, *, side: int, extra: int) -> dict[str, IntArray]:
    """The lists of an image of h x w patches by name, in the order in which a graph takes them.

    side: of the windows; extra: levels that are made from the last one by convolutions.
    """
    lists: dict[str, IntArray] = {}
    shapes = level_shapes(height, width, STAGES + extra)
    for stage, shape in enumerate(shapes[:STAGES]):
        if stage:
            lists[f"quarters{stage}"] = find_quarters(*shapes[stage - 1])
        own, moved = (find_windows(*shape, side, shift) for shift in (0, side // 2))
        lists[f"windows{stage}"], lists[f"places{stage}"] = own.cells, own.places
        lists[f"shifted{stage}"], lists[f"shifted_places{stage}"] = moved.cells, moved.places
        lists[f"region{stage}"] = moved.region
    for level in range(STAGES, STAGES + extra):
        lists[f"neighbours{level}"] = find_neighbours(*shapes[level - 1])
    return lists


def _cut(grid: IntArray, side: int) -> IntArray:
    """A grid of whole windows, window by window: h·w."""
    rows, columns = grid.shape[0] // side, grid.shape[1] // side
    return grid.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1)


def _parts(size: int, side: int, shift: int) -> IntArray:
    """0 for what the shift leaves together, 1 and 2 for the two parts of the last windows."""
    place = np.arange(size)
    if not shift:
        return np.zeros(size, np.int64)
    return (place >= size - side).astype(np.int64) + (place >= size - shift)


def _bordered(height: int, width: int, before: int) -> IntArray:
    """h x w cells in a border of h·w: so many before, and two behind."""
    grid = np.full((height + before + 2, width + before + 2), height * width)
    grid[before : before + height, before : before + width] = np.arange(height * width).reshape(
        height, width
    )
    return grid
