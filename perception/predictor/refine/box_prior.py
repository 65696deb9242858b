"""The box prior: a log-odds term for the mask of a box prompt.

An object hardly reaches beyond its box. A small network forgets that where another object of the
same color continues behind the first one, so the prior is added to its logits: 0 inside the box,
falling linearly outside it, because hand-drawn and detected boxes miss edges by a little.
"""

from __future__ import annotations

import numpy as np

from perception.frame import Frame
from perception.types import FloatArray

_REACH = 0.15
"""Share of a box's width and height over which the prior falls to its minimum."""

_MAX_PENALTY = 6.0
"""Subtracted from the logits there and farther away."""


def box_logits(boxes: FloatArray, frame: Frame, cells_hw: tuple[int, int]) -> FloatArray:
    """Return the prior of each of N boxes on the cells of its mask, N x h x w, at most 0.

    Args:
        boxes: N x 4 xyxy, in pixels of the image or crop that the frame fits.
        frame: How that image is fitted into the model's input.
        cells_hw: Size of the logits in that frame.
    """
    rows, columns = cells_hw
    scale = np.array([columns, rows] * 2, np.float32) / np.float32(frame.side)
    cells: FloatArray = frame.boxes_to_model(boxes) * scale
    across = _beyond(cells[:, [0, 2]], columns)[:, None, :]  # N x 1 x w
    down = _beyond(cells[:, [1, 3]], rows)[:, :, None]  # N x h x 1
    odds: FloatArray = -_MAX_PENALTY * np.clip(np.maximum(across, down), 0, 1).astype(np.float32)
    return odds


def _beyond(spans: FloatArray, count: int) -> FloatArray:
    """Return how far cell centers lie beyond spans N x 2, as a share of the reach, N x count."""
    middles = np.arange(count, dtype=np.float32) + 0.5
    low, high = spans[:, :1], spans[:, 1:]
    reach = np.maximum((high - low) * _REACH, 1)  # a cell at least: a mask knows no less
    shares: FloatArray = np.maximum(low - middles, middles - high) / reach
    return shares
