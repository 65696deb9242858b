"""Masks in the page agree with colors and boxes as Python's do."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from click_page import run_node

from perception.imaging.preprocess import Frame
from perception.ops.masks import sigmoid
from perception.ops.windows import Tile
from perception.predictor.refine import ColorModel, box_logits, color_bins, shown_cells
from perception.types import FloatArray, ImageArray

SIDE, CELLS = 320, 160
SIZES = [(480, 640), (640, 480), (160, 160), (1, 700), (700, 1), (97, 3), (1, 1), (1500, 2250)]


def picture(height: int, width: int) -> ImageArray:
    """Noisy patches of colors; its last columns are of one grey."""
    rng = np.random.default_rng(height + width)
    coarse = rng.integers(0, 256, (max(height // 40, 1), max(width // 40, 1), 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    noisy = np.clip(image + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
    noisy[:, 9 * width // 10 + 1 :] = 128
    return noisy


def masks(seed: int) -> FloatArray:
    """Logits 5 x h x w: blobs, sure ones, nothing but specks, nothing, everything."""
    noise = np.random.default_rng(seed).normal(size=(CELLS, CELLS)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 8)
    smooth /= smooth.std()
    flat = np.ones_like(noise)
    return np.stack([2 * smooth, 20 * (smooth - 1), smooth - 3, -6 * flat, 5 * flat])


@pytest.mark.parametrize("hw", SIZES)
def test_masks_agree_with_colors_as_pythons(hw: tuple[int, int]) -> None:
    image, frame, logits = picture(*hw), Frame(hw, SIDE), masks(hw[0])
    view = Tile(0, 0, hw[1], hw[0])
    shown, (rows, columns) = shown_cells(image, view, frame, (CELLS, CELLS))
    body = color_bins(shown).astype("<u2").tobytes() + shown.tobytes()
    answers = run_node(
        """
        const { createColors } = await load("colors.js");
        const bytes = Uint8Array.from(Buffer.from(data.body, "base64")).buffer;
        const mend = createColors(bytes, data.size, data.cells);
        return data.masks.map((logits) => {
          const given = Float32Array.from(logits);
          const mended = mend(given);
          return [Array.from(mended), given.every((value, n) => value === Math.fround(logits[n]))];
        });
        """,
        {
            "body": base64.b64encode(body).decode(),
            "size": shown.shape[:2],
            "cells": CELLS,
            "masks": [mask.ravel().tolist() for mask in logits],
        },
    )
    wanted = ColorModel(image, view, frame, (CELLS, CELLS)).refine_masks(logits)
    for network, want, (mended, unharmed) in zip(logits, wanted, answers, strict=True):
        have = np.array(mended, np.float32).reshape(CELLS, CELLS)
        assert unharmed
        np.testing.assert_array_equal(have[rows.stop :], network[rows.stop :])
        np.testing.assert_array_equal(have[:, columns.stop :], network[:, columns.stop :])
        np.testing.assert_allclose(sigmoid(have), sigmoid(want), rtol=0, atol=2e-3)
        assert ((have > 0) != (want > 0)).mean() < 1e-3
    assert not np.array_equal(wanted[0], logits[0])


@pytest.mark.parametrize("hw", SIZES)
def test_masks_stay_near_their_box_as_pythons(hw: tuple[int, int]) -> None:
    height, width = hw
    boxes = np.array(
        [
            [-2.5, height * 0.1, width * 0.7, height + 9.0],
            [width * 0.3, height * 0.3, width * 0.31, height * 0.9],
        ],
        np.float32,
    )
    logits = masks(1)[:4]
    answers = run_node(
        """
        const { addBoxPrior } = await load("box_prior.js");
        return data.boxes.map((box) => {
          const logits = Float32Array.from(data.logits);
          addBoxPrior(logits, box, data.hw, data.side, data.cells);
          return Array.from(logits);
        });
        """,
        {
            "boxes": boxes.tolist(), "logits": logits.ravel().tolist(),
            "hw": hw, "side": SIDE, "cells": CELLS,
        },
    )  # fmt: skip
    within = np.clip(boxes, 0, [width, height] * 2).astype(np.float32)
    for box, answer in zip(within, answers, strict=True):
        odds = box_logits(box[None], Frame(hw, SIDE), (CELLS, CELLS))
        have = np.array(answer, np.float32).reshape(4, CELLS, CELLS)
        np.testing.assert_allclose(have, logits + odds, rtol=0, atol=1e-3)
        assert odds.min() < -1
