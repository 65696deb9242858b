"""Masks in the page: run lengths as pycocotools', pixels as Frame's, outlines, brush."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from click_page import run_node

from perception.imaging.preprocess import Frame
from perception.ops.masks import mask_to_rle, rle_area, rle_to_mask
from perception.types import BoolArray, Rle

SIZES = [(48, 64), (1, 1), (1, 70), (70, 1), (480, 640), (64, 64), (333, 512), (97, 3)]


def blobs(height: int, width: int, seed: int, *, share: float = 0.3) -> BoolArray:
    """Random smooth patches that touch edges, have holes, and cover about ``share``."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), max(0.6, min(height, width) / 40))
    return smooth > np.quantile(smooth, 1 - share)


def masks() -> list[BoolArray]:
    every = [blobs(h, w, n, share=s) for n, (h, w) in enumerate(SIZES) for s in (0.3, 0.8)]
    every += [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.zeros((1, 1), bool)]
    noise = np.random.default_rng(1).random((60, 50)) > 0.5
    return [*every, noise, np.eye(9, dtype=bool), ~np.eye(9, dtype=bool)]


def as_json(mask: BoolArray) -> dict:
    rle = mask_to_rle(mask)
    return {"size": rle.size, "counts": rle.counts}


def test_run_lengths_are_pycocotools() -> None:
    rles = [as_json(mask) for mask in masks()]
    answers = run_node(
        """
        const { decodeRle, encodeRle } = await load("rle.js");
        const { area, box } = await load("runs.js");
        return data.map(({ size, counts }) => {
          const bounds = decodeRle(counts, size);
          return [encodeRle(bounds, size), area(bounds), box(bounds, size[0])];
        });
        """,
        rles,
    )
    for mask, rle, (counts, area, box) in zip(masks(), rles, answers, strict=True):
        assert counts == rle["counts"]
        assert area == mask.sum()
        rows, columns = np.nonzero(mask)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if area else [0] * 4
        assert box == tight


def test_run_lengths_with_empty_runs_and_wrong_sums() -> None:
    answers = run_node(
        """
        const { decodeRle } = await load("rle.js");
        const tried = (counts) => {
          try { return [...decodeRle(counts, [2, 3])]; } catch (error) { return error.message; }
        };
        return data.map(tried);
        """,
        ["12001N", "0130N", "06", "6", "11", "03N"],
    )
    assert answers[:4] == [[1, 5], [0, 1, 4, 5], [0, 6], []]
    assert "expected 6 pixels, got 2" in answers[4]
    assert "below 0" in answers[5]


@pytest.mark.parametrize("how", ["union", "minus", "common"])
def test_two_masks_as_one(how: str) -> None:
    pairs = [(blobs(h, w, n), blobs(h, w, n + 50, share=0.6)) for n, (h, w) in enumerate(SIZES)]
    answers = run_node(
        """
        const { decodeRle, encodeRle } = await load("rle.js");
        const { combine, iou } = await load("runs.js");
        return data.pairs.map(([a, b]) => {
          const [first, second] = [a, b].map(({ size, counts }) => decodeRle(counts, size));
          return [encodeRle(combine(first, second, data.how), a.size), iou(first, second)];
        });
        """,
        {"pairs": [[as_json(a), as_json(b)] for a, b in pairs], "how": how},
    )
    rules = {"union": np.logical_or, "minus": lambda a, b: a & ~b, "common": np.logical_and}
    for (a, b), (counts, iou) in zip(pairs, answers, strict=True):
        np.testing.assert_array_equal(rle_to_mask(Rle(a.shape, counts)), rules[how](a, b))
        either = (a | b).sum()
        assert iou == pytest.approx((a & b).sum() / either if either else 0)


def test_an_outline_filled_is_the_mask() -> None:
    rles = [as_json(mask) for mask in masks()]
    answers = run_node(
        """
        const { decodeRle } = await load("rle.js");
        const { outline } = await load("outline.js");
        return data.map(({ size, counts }) =>
          outline(decodeRle(counts, size), size[0]).map((ring) => [...ring]));
        """,
        rles,
    )
    for mask, rings in zip(masks(), answers, strict=True):
        filled = np.zeros(mask.shape, bool)
        for ring in rings:
            places = np.array(ring).reshape(-1, 2)
            after = np.roll(places, -1, axis=0)
            assert ((places == after).sum(axis=1) == 1).all()  # along pixel edges, no idle step
            for (x0, y0), (x1, _) in zip(places, after, strict=True):
                filled[y0:, min(x0, x1) : max(x0, x1)] ^= True
        np.testing.assert_array_equal(filled, mask)


def test_what_a_brush_covers() -> None:
    hw = (40, 50)
    strokes = [
        {"places": [[10.2, 11.7]], "radius": 4.3},
        {"places": [[10.2, 11.7], [30, 20.5], [30, 60]], "radius": 3},
        {"places": [[-5, -5], [60, 45]], "radius": 6},
        {"places": [[20, 5], [20, 35]], "radius": 2.5},
        {"places": [[20.5, 5.5]], "radius": 0.1},
        {"places": [[90, 90]], "radius": 3},
    ]
    answers = run_node(
        """
        const { stroke } = await load("brush.js");
        const { encodeRle } = await load("rle.js");
        return data.strokes.map(({ places, radius }) =>
          encodeRle(stroke(places, radius, data.hw), data.hw));
        """,
        {"hw": hw, "strokes": strokes},
    )
    centers = np.stack(np.meshgrid(np.arange(50) + 0.5, np.arange(40) + 0.5), axis=-1)
    for one, counts in zip(strokes, answers, strict=True):
        places = np.array(one["places"])
        distance = np.full(hw, np.inf)
        for a, b in zip(places, places[1:] if len(places) > 1 else places, strict=False):
            way = b - a
            along = ((centers - a) @ way / max(way @ way, 1e-9)).clip(0, 1)
            away = np.linalg.norm(centers - a - along[..., None] * way, axis=-1)
            distance = np.minimum(distance, away)
        wanted = distance <= max(one["radius"], 0.5)
        np.testing.assert_array_equal(rle_to_mask(Rle(hw, counts)), wanted)


FRAMES = [
    ((480, 640), 256), ((1, 1), 256), ((1, 700), 256), ((700, 1), 256), ((97, 3), 1024),
    ((2250, 1500), 1024), ((1500, 2250), 1024), ((256, 200), 256), ((333, 1024), 1024),
    ((60, 50), 256),
]  # fmt: skip


def logits(seed: int, cells: int, level: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(cells, cells)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), cells / 24)
    return (8 * (smooth / smooth.std() - level)).astype(np.float32)


def hard_logits(frame: Frame, cells: int) -> list[np.ndarray]:
    """Masks whose edges are everywhere, at the image's edges, or hardly to be told from 0."""
    rng = np.random.default_rng(9)
    rim, spots = np.full((2, cells, cells), -6.0)
    in_picture = frame.logits_in_image(rim)
    in_picture[[0, -1]] = in_picture[:, [0, -1]] = 2.5
    spots[rng.random((cells, cells)) < 0.02] = 9.0
    noise = rng.normal(size=(cells, cells))
    near_zero = np.where(noise > 1.5, 8.0, noise * 10.0 ** rng.uniform(-9, -4, noise.shape))
    every = [noise, rim, spots, near_zero, noise.round(), np.zeros_like(noise), abs(noise).round()]
    return [one.astype(np.float32) for one in every]


@pytest.mark.parametrize(("hw", "side"), FRAMES)
def test_upsampled_logits_are_pythons_masks(hw: tuple[int, int], side: int) -> None:
    cells = side // 4
    every = [logits(n, cells, level) for n, level in enumerate((0.0, 1.5, 9.0, -9.0))]
    every += hard_logits(Frame(hw, side), cells)
    answers = run_node(
        """
        const { logitsToBounds } = await load("upsample.js");
        const { encodeRle } = await load("rle.js");
        const { hw, side, cells, every } = data;
        return every.map((logits) =>
          encodeRle(logitsToBounds(Float32Array.from(logits), cells, hw, side), hw));
        """,
        {"hw": hw, "side": side, "cells": cells, "every": [one.ravel().tolist() for one in every]},
    )
    for mask, counts in zip(Frame(hw, side).logits_to_masks(np.stack(every)), answers, strict=True):
        assert counts == mask_to_rle(mask).counts


@pytest.mark.parametrize("hw", [(2250, 1500), (97, 3), (1, 700), (1, 1)])
def test_only_what_is_near_an_edge_has_to_be_computed(hw: tuple[int, int]) -> None:
    cells, side = 64, 256
    resized_h, _ = Frame(hw, side).resized_hw
    column = logits(4, cells, 0.3)[:, 20]
    spans, opened = run_node(
        """
        const { axisSteps, outputRuns } = await load("axis.js");
        const { kindsOf, openSpans, spansOf } = await load("signs.js");
        const { column, cells, side, resized, size } = data;
        const rows = outputRuns(axisSteps(cells, side, resized, size), cells);
        const spans = spansOf([kindsOf(Float32Array.from(column), 1e-5, rows)], rows);
        return [spans, openSpans(spans)];
        """,
        {
            "column": column.tolist(), "cells": cells, "side": side,
            "resized": resized_h, "size": hw[0],
        },
    )  # fmt: skip
    values = Frame(hw, side).logits_to_image(np.repeat(column[:, None], cells, axis=1))[:, 0]
    outside, inside, either = 1, 2, 3
    assert (spans[0], spans[-1]) == (0, hw[0])
    for start, kind, stop in zip(spans[::2], spans[1::2], spans[2::2], strict=False):
        assert start < stop
        assert kind in (outside, inside, either)
        assert kind != inside or (values[start:stop] > 0).all()
        assert kind != outside or (values[start:stop] < 0).all()
    edges = np.count_nonzero(np.diff(values > 0))
    assert edges > 3 or hw[0] < 97
    assert len(opened) == 2 * edges
    # Three cells for each edge.
    assert sum(opened[1::2]) - sum(opened[::2]) <= edges * (3 * hw[0] / cells + 2)


@pytest.mark.parametrize(("hw", "side"), FRAMES[:1] + FRAMES[5:])
def test_a_mask_fed_back_comes_out_again(hw: tuple[int, int], side: int) -> None:
    mask = blobs(*hw, 3, share=0.4)
    counts = run_node(
        """
        const { lowResOfBounds } = await load("predicted_mask.js");
        const { logitsToBounds } = await load("upsample.js");
        const { decodeRle, encodeRle } = await load("rle.js");
        const { hw, side, cells, counts } = data;
        const { logits } = lowResOfBounds(decodeRle(counts, hw), hw, side, cells);
        return encodeRle(logitsToBounds(logits, cells, hw, side), hw);
        """,
        {"hw": hw, "side": side, "cells": side // 4, "counts": mask_to_rle(mask).counts},
    )
    back = rle_to_mask(Rle(hw, counts))
    assert rle_area(Rle(hw, counts)) > 0
    assert (mask & back).sum() / (mask | back).sum() > 0.8
