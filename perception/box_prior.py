"""What a box says of the mask that it asks for: the thing hardly reaches beyond it.

A small network has learned that from boxes that were loose, and forgets it where a thing goes on in
the same colours behind another one. As log-odds it is added to what the network says: nothing in
the box, less and less beyond it, since a hand and a detector miss edges by a little.
"""

from __future__ import annotations

import numpy as np

from perception.frame import Frame
from perception.types import FloatArray

_REACH = 0.15
"""Of a box's width and height: so far beyond it a thing is hardly ever."""

_MOST = 6.0
"""What is taken from the log-odds there, and farther away; a share of it on the way there."""


def box_log_odds(boxes: FloatArray, frame: Frame, cells_hw: tuple[int, int]) -> FloatArray:
    """What each of N boxes says of the cells of its mask, N x h x w, at most 0.

    boxes: N x 4 xyxy, in pixels of what the frame fits; cells_hw: of the logits in that frame.
    """
    rows, columns = cells_hw
    scale = np.array([columns, rows] * 2, np.float32) / np.float32(frame.side)
    cells: FloatArray = frame.boxes_to_model(boxes) * scale
    across = _beyond(cells[:, [0, 2]], columns)[:, None, :]  # N x 1 x w
    down = _beyond(cells[:, [1, 3]], rows)[:, :, None]  # N x h x 1
    odds: FloatArray = -_MOST * np.clip(np.maximum(across, down), 0, 1).astype(np.float32)
    return odds


def _beyond(spans: FloatArray, count: int) -> FloatArray:
    """How far the middles of cells are beyond spans N x 2, as a share of the reach, N x count."""
    middles = np.arange(count, dtype=np.float32) + 0.5
    low, high = spans[:, :1], spans[:, 1:]
    reach = np.maximum((high - low) * _REACH, 1)  # a cell at least: a mask knows no less
    shares: FloatArray = np.maximum(low - middles, middles - high) / reach
    return shares
