"""What a predictor returns: one mask as logits in a crop, and N masks as compact run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perception.imaging.preprocess import Frame
from perception.instances import Instances
from perception.ops.masks import (
    consensus,
    logits_to_rles,
    rle_area,
    rle_to_box,
    rle_to_mask,
    sigmoid,
    stability_score,
    window_to_rle,
)
from perception.ops.windows import Tile
from perception.predictor.obedience import CellClicks, bent, merged
from perception.runtime.batching import Stopwatch
from perception.types import BoolArray, BoxMasks, FloatArray, IntArray, MaskCandidates, Rle

if TYPE_CHECKING:
    from perception.predictor.crop import EncodedCrop

_OUTSIDE = -10.0
"""Logits where a mask's window shows nothing: surely outside."""

_SURE = 8.0
"""Logits of a cell that a mask covers wholly; of one that it doesn't touch, the negative."""


@dataclass(frozen=True, eq=False)
class LowResMask:
    """The low-resolution logits of one mask, in a window of an image; what is fed back.

    Attributes:
        window: The part of the image that the logits cover; it may reach beyond the image.
        logits: h x w, a mask where they are > 0, in the frame of the window.
        frame: How the window is fitted into the model's input.
        image_hw: Height and width of the image.
    """

    window: Tile
    logits: FloatArray
    frame: Frame
    image_hw: tuple[int, int]

    @classmethod
    def from_mask(cls, mask: BoolArray, frame: Frame, cells: int) -> LowResMask:
        """Return a mask H x W of a whole image as if a model had predicted it.

        Each of cells x cells logits says how much of the cell the mask covers. frame: of the image.
        """
        import cv2

        height, width = frame.image_hw
        # In cells of the padded square; exact areas, as INTER_AREA has them for a reduction.
        rows, columns = (cells * n / frame.side for n in frame.resized_hw)
        grid = np.zeros((cells, cells), np.float32)
        inside_hw = max(1, round(rows)), max(1, round(columns))
        how = cv2.INTER_AREA if max(height, width) > cells else cv2.INTER_LINEAR
        shrunk = cv2.resize(mask.astype(np.float32), inside_hw[::-1], interpolation=how)
        grid[: inside_hw[0], : inside_hw[1]] = shrunk
        whole = Tile(0, 0, width, height)
        return cls(whole, (_SURE * (2 * grid - 1)).astype(np.float32), frame, (height, width))

    def mask(self) -> BoolArray:
        """Return the mask H x W of the image."""
        return self.window.pasted(self.window_mask, self.image_hw)

    @cached_property
    def window_mask(self) -> BoolArray:
        """The mask of the window alone, h x w of its pixels."""
        mask: BoolArray = self.frame.logits_to_masks(self.logits[None])[0]
        return mask

    def contains(self, points: FloatArray) -> BoolArray:
        """Return which of K points (x, y), in pixels of the image, lie in the mask, K."""
        inside = np.zeros(len(points), np.bool_)
        height, width = self.window_mask.shape
        for n, (x, y) in enumerate(np.floor(points).astype(int) - np.array(self.window[:2])):
            inside[n] = 0 <= x < width and 0 <= y < height and self.window_mask[y, x]
        return inside

    def logits_in(self, window: Tile) -> FloatArray:
        """Return the logits h x w as another window has them, -10 where this one shows nothing."""
        import cv2

        if window == self.window:
            return self.logits
        # Cell (i, j) of either is at (i + 0.5) * length / cells from the corner of its square.
        cells = self.logits.shape[-1]
        old, new = (max(w.x1 - w.x0, w.y1 - w.y0) / cells for w in (self.window, window))
        scale = new / old
        x, y = (
            (first - start + new / 2) / old - 0.5
            for first, start in ((window.x0, self.window.x0), (window.y0, self.window.y0))
        )
        warped = cv2.warpAffine(
            self.logits,
            np.array([[scale, 0, x], [0, scale, y]]),
            (cells, cells),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_OUTSIDE,
        )
        return warped.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class PredictedMask:
    """One of the candidate masks of a prompt.

    Attributes:
        crop: Where it was predicted.
        decoded: The segmenter's output for N prompts in that crop.
        row: Which of the N prompts.
        index: Which of the four masks: 0 is the single-mask output, 1 to 3 are the candidates.
        may_be_cut: Whether the crop was chosen without knowing the object, so that it may cut it.
        clicks: The clicks that the mask has to obey, in cells of its logits, or None.
        before: The logits h x w of the mask that the last click corrects, in this crop: what is far
            from the click stays so. See ``obedience``.
    """

    crop: EncodedCrop
    decoded: MaskCandidates
    row: int
    index: int
    may_be_cut: bool = False
    clicks: CellClicks | None = None
    before: FloatArray | None = None

    @property
    def window(self) -> Tile:
        """The part of the image in which it was predicted."""
        return self.crop.window

    @cached_property
    def low_res(self) -> LowResMask:
        """Its refined logits, to be fed back or upsampled elsewhere."""
        logits = self.crop.refine(self.decoded.logits[self.row, [self.index]])[0]
        if self.clicks is not None:
            if self.before is not None:
                logits = merged(logits, self.before, self.clicks)
            logits = bent(logits, self.clicks, self.crop.lab_cells(logits.shape))
        return LowResMask(self.window, logits, self.decoded.frame, self.crop.image_hw)

    @cached_property
    def quality(self) -> float:
        """The IoU that the model predicts, less the share of it that the crop's edge cuts."""
        return float(self.decoded.quality[self.row, self.index]) * (1 - self.cut)

    @cached_property
    def cut(self) -> float:
        """The share of the crop's edge, inside the image, that a mask that may be cut touches."""
        if not self.may_be_cut:
            return 0.0
        mask, window = self.low_res.window_mask, self.window
        height, width = self.crop.image_hw
        edges = (
            (mask[:, 0], window.x0 > 0),
            (mask[0], window.y0 > 0),
            (mask[:, -1], window.x1 < width),
            (mask[-1], window.y1 < height),
        )
        return float(sum(edge.mean() for edge, inside in edges if inside)) / len(edges)

    @property
    def stability(self) -> float:
        """How little the refined mask changes with its threshold, 0..1 (SAM's definition)."""
        logits = self.decoded.frame.logits_in_image(self.low_res.logits[None])
        return float(stability_score(logits)[0])

    @property
    def consensus(self) -> float:
        """How far the four masks of the prompt are the same mask, 0..1 (``masks.consensus``)."""
        logits = self.decoded.frame.logits_in_image(self.decoded.logits[[self.row]])
        return float(consensus(logits)[0])

    def mask(self) -> BoolArray:
        """Return the mask H x W of the image."""
        return self.low_res.mask()

    def rle(self) -> Rle:
        """Return the mask of the image as run lengths, without a mask of the image's size."""
        (rle,) = logits_to_rles(self.low_res.logits[None], self.decoded.frame)
        return moved_rle(rle, self.window, self.crop.image_hw)


def obedient_first(
    candidates: Sequence[PredictedMask], points: FloatArray, labels: IntArray
) -> tuple[PredictedMask, ...]:
    """Return the candidates, those first that contain every positive point and no negative one.

    Otherwise their order stays. points: K x 2 in pixels of the image; labels: K, 1 = in, 0 = out.
    """

    def obeys(one: PredictedMask) -> bool:
        return bool((one.low_res.contains(points) == (labels > 0)).all())

    if not len(points) or obeys(candidates[0]):
        return tuple(candidates)
    return tuple(sorted(candidates, key=lambda one: not obeys(one)))


@dataclass(frozen=True, eq=False)
class MaskPredictions:
    """N masks at the image's size as run lengths; prompts whose mask is empty have none.

    Attributes:
        rles: N.
        boxes: N x 4 xyxy, tight around the masks.
        quality: N, the predicted IoU.
        stability: N, 0..1, of the refined masks.
        consensus: N, 0..1, of the four masks of the same prompt.
        prompt_ids: N, which prompt, ascending.
    """

    rles: tuple[Rle, ...]
    boxes: FloatArray
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray
    prompt_ids: IntArray

    @classmethod
    def of(
        cls, masks: Iterable[tuple[int, PredictedMask]], *, watch: Stopwatch | None = None
    ) -> MaskPredictions:
        """Gather masks, each with its prompt's number; one at a time exists at full size.

        Times the stage "masks".
        """
        watch, rows = watch or Stopwatch(), []
        for prompt, one in masks:
            with watch("masks"):
                rows.append(_Row(one.rle(), one.quality, one.stability, one.consensus, prompt))
        return _gathered(rows)

    @classmethod
    def of_detector(cls, masks: BoxMasks, *, watch: Stopwatch | None = None) -> MaskPredictions:
        """Return the masks that a detector gave with its N boxes, as if the boxes were prompts.

        Their quality is the mean probability inside, since no IoU is predicted for them, and their
        consensus is 1. Times the stage "masks".
        """
        watch = watch or Stopwatch()
        with watch("masks"):
            seen = masks.frame.logits_in_image(masks.logits)
            rows = [
                _Row(rle, quality, float(stability), 1.0, n)
                for n, (rle, quality, stability) in enumerate(
                    zip(
                        logits_to_rles(masks.logits, masks.frame),
                        map(_mean_probability, seen),
                        stability_score(seen),
                        strict=True,
                    )
                )
            ]
        return _gathered(rows)

    def give_masks_to(self, found: Instances) -> Instances:
        """Return those of N boxes that have a mask, with the mask and its tight box."""
        return replace(
            found[self.prompt_ids],
            boxes=self.boxes,
            rles=self.rles,
            quality=self.quality,
            stability=self.stability,
        )


class _Row(NamedTuple):
    rle: Rle
    quality: float
    stability: float
    consensus: float
    prompt: int


def _gathered(rows: Sequence[_Row]) -> MaskPredictions:
    rows = sorted((row for row in rows if rle_area(row.rle)), key=lambda row: row.prompt)
    return MaskPredictions(
        rles=tuple(row.rle for row in rows),
        boxes=np.array([rle_to_box(row.rle) for row in rows], np.float32).reshape(-1, 4),
        quality=np.array([row.quality for row in rows], np.float32),
        stability=np.array([row.stability for row in rows], np.float32),
        consensus=np.array([row.consensus for row in rows], np.float32),
        prompt_ids=np.array([row.prompt for row in rows], np.int64),
    )


def _mean_probability(logits: FloatArray) -> float:
    """Return the mean probability of the cells h x w that are in the mask; 0 where none is."""
    inside = logits[logits > 0]
    return float(sigmoid(inside).mean(dtype=np.float64)) if len(inside) else 0.0


def moved_rle(rle: Rle, window: Tile, image_hw: tuple[int, int]) -> Rle:
    """Return a window's mask as one of the image of (H, W), less what lies beyond the image."""
    if window == (0, 0, *image_hw[::-1]):
        return rle
    x0, y0, x1, y1 = rle_to_box(rle).astype(int).tolist()
    part = Tile(window.x0 + x0, window.y0 + y0, window.x0 + x1, window.y0 + y1)
    seen = part.inside(image_hw)
    if seen.x1 <= seen.x0 or seen.y1 <= seen.y0:
        return window_to_rle(np.zeros((0, 0), np.bool_), (0, 0), image_hw)
    pixels = rle_to_mask(rle)[
        seen.y0 - window.y0 : seen.y1 - window.y0, seen.x0 - window.x0 : seen.x1 - window.x0
    ]
    return window_to_rle(pixels, (seen.x0, seen.y0), image_hw)
