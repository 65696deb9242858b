"""Bilinear upsampling that can be asked for a window: exactly a cut-out of the whole.

A value lies between two neighbours along each axis, and is ``a + weight * (b - a)``. Each one is
computed by itself, by the same operations wherever a window begins, so that a mask's logits need
to be known only around the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from perception.types import FloatArray, IntArray

_VALUES_AT_ONCE = 1 << 16
"""Values in one block of columns: two such blocks stay in a core's cache."""
_ROUNDING = 1e-5
"""More than what rounding can add to a value, as a share of the largest input."""


class Window(NamedTuple):
    """Part of an image in whole pixels, half-open; empty where x1 == x0 or y1 == y0."""

    x0: int
    y0: int
    x1: int
    y1: int


class Taps(NamedTuple):
    """Where outputs lie between inputs: after input ``low``, by ``weight`` of the way; both N."""

    low: IntArray
    weight: FloatArray


@lru_cache(maxsize=64)
def linear_taps(inputs: int, outputs: int, count: int) -> Taps:
    """The first ``count`` of ``outputs`` that are spread over ``inputs``, half-pixel centers.

    What lies outside the first and last input's center takes that input's value.
    """
    place = np.clip((np.arange(count) + 0.5) * (inputs / outputs) - 0.5, 0, inputs - 1)
    low = place.astype(np.int64)
    taps = Taps(low, (place - low).astype(np.float32))
    for array in taps:
        array.setflags(write=False)
    return taps


@dataclass(frozen=True)
class Axis:
    """One axis of an upsampling in several steps, each of which has its ``Taps``."""

    steps: tuple[Taps, ...]

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """The outputs, start and stop, in which the inputs from first to last have a part."""
        for low, _ in self.steps:
            start = int(np.searchsorted(low, first - 1, "left"))
            stop = int(np.searchsorted(low, last, "right"))
            if start >= stop:
                return 0, 0
            first, last = start, stop - 1
        return first, last + 1

    def needed(self, start: int, stop: int) -> tuple[slice, tuple[Taps, ...]]:
        """The inputs that outputs start to stop need, and each step's taps into what it needs."""
        parts: list[Taps] = []
        for low, weight in reversed(self.steps):
            some = slice(start, stop)
            # Two inputs from each "low"; behind the last input there is none.
            start, stop = int(low[some][0]), int(low[some][-1]) + 2
            parts.append(Taps(low[some] - start, weight[some]))
        return slice(start, stop), tuple(reversed(parts))


def window_above(values: FloatArray, level: float, x: Axis, y: Axis) -> Window:
    """Where the upsampled values h x w may be more than ``level``; nowhere else are they."""
    level -= _ROUNDING * float(max(values.max(), -values.min()))
    above = values > level
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if not len(rows):
        return Window(0, 0, 0, 0)
    x0, x1 = x.reach(int(columns[0]), int(columns[-1]))
    y0, y1 = y.reach(int(rows[0]), int(rows[-1]))
    return Window(x0, y0, x1, y1)


def upsampled_columns(
    values: FloatArray, x: Axis, y: Axis, window: Window
) -> Iterator[tuple[int, FloatArray]]:
    """The upsampled values h x w in a window, a few columns at a time.

    Yields the first column, counted from the window's, and the values columns x rows. The array is
    overwritten by the next one.
    """
    x0, y0, x1, y1 = window
    if x0 >= x1 or y0 >= y1:
        return
    (some_columns, x_steps), (some_rows, y_steps) = x.needed(x0, x1), y.needed(y0, y1)
    rows = values[some_rows, some_columns]
    for taps in y_steps:
        rows = _between(rows, taps)  # window's height x columns
    columns = np.ascontiguousarray(rows.T)
    for taps in x_steps[:-1]:
        columns = _between(columns, taps)  # columns x window's height
    low, weight = x_steps[-1]
    change = np.diff(columns, axis=0, append=columns[-1:])
    at_once = max(1, _VALUES_AT_ONCE // (y1 - y0))
    block = np.empty((2, min(at_once, x1 - x0), y1 - y0), np.float32)
    for start in range(0, x1 - x0, at_once):
        some = slice(start, start + at_once)
        base, part = block[:, : len(low[some])]
        np.take(columns, low[some], axis=0, out=base, mode="clip")
        np.take(change, low[some], axis=0, out=part, mode="clip")
        part *= weight[some, None]
        part += base
        yield start, part


def _between(inputs: FloatArray, taps: Taps) -> FloatArray:
    """One step along the first axis: inputs n x m to outputs k x m."""
    change = np.diff(inputs, axis=0, append=inputs[-1:])
    outputs: FloatArray = change[taps.low]
    outputs *= taps.weight[:, None]
    outputs += inputs[taps.low]
    return outputs
