"""Which mask is a part of which: a wheel of a car, a berry of a cluster."""

from __future__ import annotations

import numpy as np

from perception.overlaps import Overlaps
from perception.types import BoolArray, IntArray

NESTED = 0.9
"""A mask of which at least this much lies in a larger one is a part of it, 0..1."""


def holders(overlaps: Overlaps) -> BoolArray:
    """Whether a mask of N (the row) is a part of another (the column), N x N."""
    larger: BoolArray = overlaps.areas > overlaps.areas[:, None]
    return larger & (overlaps.inside >= NESTED)


def parents(overlaps: Overlaps, order: IntArray) -> IntArray:
    """The smallest mask that each of N masks is a part of, N; -1 where there is none.

    order: N, which of masks of one size is taken. A parent is larger than its part, so there are
    no rings.
    """
    count = len(overlaps.areas)
    if not count:
        return np.zeros(0, np.int64)
    holds = holders(overlaps)
    smallest_first = order[np.argsort(overlaps.areas[order], kind="stable")]
    first = holds[:, smallest_first].argmax(axis=1)
    found: IntArray = np.where(holds.any(axis=1), smallest_first[first], -1)
    return found


def nested_in_its_class(overlaps: Overlaps, class_ids: IntArray) -> BoolArray:
    """Whether each of N masks is a part of a larger one of its class, N."""
    nested: BoolArray = (holders(overlaps) & (class_ids[:, None] == class_ids)).any(axis=1)
    return nested
