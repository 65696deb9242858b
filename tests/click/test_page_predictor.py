"""The page's predictor is Python's: the same windows, the same fed-back logits, the same order."""

from __future__ import annotations

import numpy as np
import pytest
from click_page import run_node

from perception.imaging.preprocess import Frame
from perception.ops.windows import Tile
from perception.predictor.predictions import LowResMask
from perception.predictor.zoom import click_windows, zoom_window

SIZES = [(480, 640), (640, 480), (97, 3), (1, 1), (1500, 2250), (33, 85), (95, 95)]


@pytest.mark.parametrize("hw", SIZES)
def test_windows_are_pythons(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(hw))
    corners = np.sort(rng.uniform(-0.1, 1.1, (60, 2, 2)), axis=1) * (hw[1], hw[0])
    boxes = corners.reshape(-1, 4).astype(np.float32)
    points = (rng.uniform(0, 1, (60, 2)) * (hw[1], hw[0])).astype(np.float32)
    answers = run_node(
        """
        const { zoomWindow, clickWindows } = await load("predictor.js");
        return {
          boxes: data.boxes.map((box) => zoomWindow(box, data.hw)),
          points: data.points.map((point) => clickWindows(point, data.hw)),
        };
        """,
        {"hw": hw, "boxes": boxes.tolist(), "points": points.tolist()},
    )
    assert answers["boxes"] == [list(zoom_window(box, hw)) for box in boxes]
    assert answers["points"] == [[list(w) for w in click_windows(point, hw)] for point in points]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (Tile(0, 0, 640, 480), Tile(100, 50, 300, 250)),
        (Tile(100, 50, 300, 250), Tile(0, 0, 640, 480)),
        (Tile(-20, -30, 80, 70), Tile(10, 10, 34, 34)),
        (Tile(0, 0, 640, 480), Tile(0, 0, 640, 480)),
    ],
)
def test_fed_back_logits_are_pythons(own: Tile, other: Tile) -> None:
    cells = 40
    logits = np.random.default_rng(0).normal(0, 4, (cells, cells)).astype(np.float32)
    answers = run_node(
        """
        const { logitsIn } = await load("predicted_mask.js");
        const mask = { window: data.own, logits: Float32Array.from(data.logits) };
        return Array.from(logitsIn(mask, data.other, data.cells));
        """,
        {"own": own, "other": other, "logits": logits.ravel().tolist(), "cells": cells},
    )
    mask = LowResMask(own, logits, Frame((own.y1 - own.y0, own.x1 - own.x0), 80), (480, 640))
    # OpenCV's places between cells are thirty-seconds of a cell.
    worst = np.abs(np.float32(answers).reshape(cells, cells) - mask.logits_in(other)).max()
    assert worst <= 2 * np.ptp(np.append(logits, -10)) / 32


CANDIDATES = """
  const { PredictedMask, obedientFirst, boundsInImage } = await load("predicted_mask.js");
  const { encodeRle } = await load("rle.js");
  const model = { side: data.side, cells: data.cells, imageHw: data.hw };
  const masks = data.masks.map((logits, n) => new PredictedMask({
    window: data.window, logits: Float32Array.from(logits), refine: (same) => same,
    quality: 1 - n / 10, model, mayBeCut: true,
  }));
  const order = obedientFirst(masks, data.points, data.labels).map((one) => masks.indexOf(one));
  return masks.map((one) => ({
    cut: one.cut, quality: one.quality, counts: encodeRle(one.bounds, data.hw),
  })).concat({ order });
"""


@pytest.mark.parametrize(
    "window", [Tile(0, 0, 128, 96), Tile(-10, 20, 54, 84), Tile(90, 50, 140, 100)]
)
def test_masks_of_windows_are_pythons(window: Tile) -> None:
    from fakes import drawing

    from perception.ops.masks import mask_to_rle
    from perception.predictor.crop import ImageCrops
    from perception.predictor.predictions import PredictedMask, obedient_first
    from perception.types import Embedding, MaskCandidates

    hw, side, cells = (96, 128), 64, 16
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (1, 4, cells, cells)).astype(np.float32).repeat(2, 2).repeat(2, 3)
    logits = np.ascontiguousarray(logits[:, :, :cells, :cells])
    frame = Frame((window.y1 - window.y0, window.x1 - window.x0), side)

    class Known:
        name = "known"

        def encode(self, image):
            return Embedding(None, frame, self.name)

    crop = ImageCrops(Known(), drawing(*hw), refined=False).crop(window)
    quality = np.float32([[1, 0.9, 0.8, 0.7]])
    decoded = MaskCandidates(logits, quality, frame, ambiguous=False)
    masks = [PredictedMask(crop, decoded, 0, n, may_be_cut=True) for n in range(4)]
    points = np.float32([[100, 60], [30.5, 40.5]])
    labels = np.array([1, 0])
    *answers, last = run_node(
        CANDIDATES,
        {
            "hw": hw, "side": side, "cells": cells, "window": window,
            "masks": logits[0].reshape(4, -1).tolist(),
            "points": points.tolist(), "labels": labels.tolist(),
        },
    )  # fmt: skip
    for mask, answer in zip(masks, answers, strict=True):
        assert answer["counts"] == mask_to_rle(mask.mask()).counts
        assert answer["cut"] == pytest.approx(mask.cut)
        assert answer["quality"] == pytest.approx(mask.quality)
    assert last["order"] == [masks.index(one) for one in obedient_first(masks, points, labels)]


@pytest.mark.parametrize("seed", range(6))
def test_clicks_are_obeyed_as_in_python(seed: int) -> None:
    import cv2

    from perception.predictor.obedience import CellClicks, bent, merged

    cells = 48
    rng = np.random.default_rng(seed)
    smooth = [cv2.GaussianBlur(rng.normal(size=(cells, cells)), (0, 0), 4) for _ in range(2)]
    logits, before = (np.float32(30 * one) for one in smooth)
    rgb = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (cells, cells))
    places = rng.uniform(0, cells, (5, 2)).astype(np.float32)
    clicks = CellClicks(places, rng.integers(0, 2, 5))
    answers = run_node(
        """
        const { obedient, labCells, disobeyed } = await load("obedience.js");
        const { cells, clicks } = data;
        const lab = labCells(Uint8Array.from(data.rgb), [cells, cells], cells, [0, 0]);
        const [logits, before] = [data.logits, data.before].map((one) => Float32Array.from(one));
        const found = [before, null].map((one) => obedient(logits, cells, clicks, one, lab));
        return { found: found.map((one) => Array.from(one)), lab: Array.from(lab),
          wrong: found.map((one) => disobeyed(one, cells, clicks)) };
        """,
        {
            "cells": cells, "rgb": rgb.ravel().tolist(),
            "logits": logits.ravel().tolist(), "before": before.ravel().tolist(),
            "clicks": {"places": places.tolist(), "labels": clicks.labels.tolist()},
        },
    )  # fmt: skip
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    assert np.abs(np.float32(answers["lab"]).reshape(lab.shape) - lab).max() <= 2
    assert answers["wrong"] == [0, 0]
    for found, start in zip(
        answers["found"], (merged(logits, before, clicks), logits), strict=True
    ):
        want = bent(start, clicks, lab)
        have = np.float32(found).reshape(cells, cells)
        assert ((have > 0) != (want > 0)).mean() < 5e-3
        assert np.abs(have - want).mean() < 0.05
