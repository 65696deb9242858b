from __future__ import annotations

import numpy as np
import pytest

from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.segmenters.decoding import point_rows, prompt_rows
from perception.types import Prompt

FRAME = Frame((40, 80), 160)  # both axes are doubled
MASKS = np.zeros((1, 40, 40))


@pytest.mark.parametrize(
    ("prompt", "coords", "labels"),
    [
        (Prompt(), np.zeros((0, 2, 2)), np.zeros((0, 2))),
        (Prompt(points=[[1, 2]]), [[[2, 4], [0, 0]]], [[1, -1]]),
        (
            Prompt(points=[[1, 2], [3, 4.5]], point_labels=[0, 1]),
            [[[2, 4], [6, 9], [0, 0]]],
            [[0, 1, -1]],
        ),
        (
            Prompt(boxes=[[1, 2, 3, 4], [5, 6, 7, 8]]),
            [[[2, 4], [6, 8]], [[10, 12], [14, 16]]],
            [[2, 3], [2, 3]],
        ),
        (
            Prompt(points=[[1, 2]], point_labels=[0], boxes=[[1, 2, 3, 4]]),
            [[[2, 4], [2, 4], [6, 8]]],
            [[0, 2, 3]],
        ),
        (Prompt(boxes=[[-5, -5, 900, 20]]), [[[0, 0], [160, 40]]], [[2, 3]]),  # clipped
    ],
    ids=["nothing", "point", "points", "boxes", "point and box", "box over the edge"],
)
def test_rows(prompt: Prompt, coords, labels) -> None:
    rows = prompt_rows(prompt, FRAME, 40)
    assert rows.coords.dtype == np.float32
    np.testing.assert_array_equal(rows.coords, coords)
    np.testing.assert_array_equal(rows.labels, labels)
    assert len(rows) == len(prompt)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(points=[[80, 2]]), r"point 80,2 is outside .* 80 x 40"),
        (Prompt(points=[[1, 2], [3, -1]]), r"point 3,-1 is outside"),
        (Prompt(boxes=[[80, 0, 90, 10]]), r"box 80,0,90,10 is outside .* 80 x 40"),
        (Prompt(points=[[1, 2]], mask_logits=np.zeros((1, 32, 40))), "40 x 40 .* got 32 x 40"),
    ],
)
def test_what_cannot_be_a_row_is_named(prompt: Prompt, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompt_rows(prompt, FRAME, 40)


def test_a_slice_keeps_the_masks_beside_their_rows() -> None:
    earlier = np.arange(3, dtype=np.float32).repeat(1600).reshape(3, 40, 40)
    rows = prompt_rows(
        Prompt(boxes=[[0, 0, n + 1, 9] for n in range(3)], mask_logits=earlier), FRAME, 40
    )
    assert rows[1:3].coords[:, 1, 0].tolist() == [4, 6]
    assert rows[1:3].mask_logits[:, 0, 0].tolist() == [1, 2]


def test_lone_points_are_a_row_each() -> None:
    rows = point_rows(np.float32([[1, 2], [30, 4]]), FRAME)
    alone = [prompt_rows(Prompt(points=[point]), FRAME, 40) for point in ([1, 2], [30, 4])]
    assert rows.coords.tolist() == [row.coords[0].tolist() for row in alone]
    assert rows.labels.tolist() == [row.labels[0].tolist() for row in alone]
    assert rows.mask_logits is None
    assert len(point_rows(np.zeros((0, 2), np.float32), FRAME)) == 0
    with pytest.raises(PromptError, match="outside the image"):
        point_rows(np.float32([[1, 2], [3000, 4]]), FRAME)
