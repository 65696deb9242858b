"""From a prompt in picture pixels to the arrays that every decoder takes: the only place for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.errors import PromptError
from perception.frame import Frame
from perception.types import FloatArray, IntArray, Prompt

PAD, TOP_LEFT, BOTTOM_RIGHT = -1, 2, 3
"""SAM's labels of places beside 0 (a point outside the thing) and 1 (a point inside)."""


@dataclass(frozen=True, eq=False)
class PromptRows:
    """P prompts as a decoder takes them.

    coords: P x K x 2 (x, y) in pixels of the model's input, without SAM's + 0.5;
    labels: P x K; mask_logits: P x h x w, earlier answers, or None.
    """

    coords: FloatArray
    labels: IntArray
    mask_logits: FloatArray | None

    def __len__(self) -> int:
        return len(self.coords)

    def __getitem__(self, rows: slice) -> PromptRows:
        masks = None if self.mask_logits is None else self.mask_logits[rows]
        return PromptRows(self.coords[rows], self.labels[rows], masks)


def prompt_rows(prompt: Prompt, frame: Frame, mask_size: int) -> PromptRows:
    """The rows of a prompt on a picture.

    All points are one row, closed by a padding place, as SAM was trained; each box is a row of two
    corners; points with one box are one row: the points, then the corners.

    Raises PromptError where a place is outside the picture, or where an earlier mask isn't
    mask_size x mask_size.
    """
    masks = prompt.mask_logits
    if masks is not None and masks.shape[1:] != (mask_size, mask_size):
        raise PromptError(
            f"an earlier mask is {mask_size} x {mask_size} logits of this model, "
            f"got {masks.shape[1]} x {masks.shape[2]}: feed back what decode returned"
        )
    fitted = frame.fit_prompt(prompt)
    points = frame.points_to_model(fitted.points)  # K x 2
    corners = frame.boxes_to_model(fitted.boxes).reshape(-1, 2, 2)  # N x 2 x 2
    labels = np.ones(len(points), np.int64) if fitted.point_labels is None else fitted.point_labels
    corner_labels = np.array([TOP_LEFT, BOTTOM_RIGHT], np.int64)
    if not len(points):
        return PromptRows(corners, np.tile(corner_labels, (len(corners), 1)), masks)
    if not len(corners):
        corners, corner_labels = np.zeros((1, 1, 2), np.float32), np.array([PAD], np.int64)
    coords = np.concatenate((points, corners[0]))
    return PromptRows(coords[None], np.concatenate((labels, corner_labels))[None], masks)


def point_rows(points: FloatArray, frame: Frame) -> PromptRows:
    """N lone points of a picture, N x 2, as N rows, each closed by a padding place.

    Raises PromptError where a point is outside the picture.
    """
    inside = frame.points_to_model(frame.fit_prompt(Prompt(points=points)).points)
    coords = np.stack((inside, np.zeros_like(inside)), axis=1)  # N x 2 x 2
    return PromptRows(coords, np.tile(np.array([1, PAD], np.int64), (len(coords), 1)), None)
