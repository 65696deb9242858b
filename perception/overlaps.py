"""How much the masks of one picture share, counted on their run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.masks import rle_area, rle_shares
from perception.types import IntArray, Rle


@dataclass(frozen=True, eq=False)
class Overlaps:
    """N masks, pair by pair. areas: N pixels; shared: N x N pixels that both masks have."""

    areas: IntArray
    shared: IntArray

    @classmethod
    def of(cls, rles: Sequence[Rle]) -> Overlaps:
        """Of the masks of one picture."""
        areas = np.array([rle_area(rle) for rle in rles], np.int64)
        # A share times its area is a whole number again, whatever the division has rounded.
        shared = np.rint(rle_shares(rles) * areas[:, None]).astype(np.int64)
        return cls(areas, shared)

    def __getitem__(self, index: Any) -> Overlaps:
        """The masks that an index array or a boolean array picks."""
        return Overlaps(self.areas[index], self.shared[index][:, index])

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, N x N; 0 where both masks are empty."""
        union = self.areas[:, None] + self.areas - self.shared
        iou: NDArray[np.float64] = self.shared / np.maximum(union, 1)
        return iou

    @property
    def inside(self) -> NDArray[np.float64]:
        """How much of each mask lies in each other one, N x N in 0..1."""
        return self.shared / np.maximum(self.areas, 1)[:, None]
