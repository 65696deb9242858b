"""Segment everything: a grid of points asks a segmenter for all that it can cut out of an image.

The steps and their order are those of SAM's automatic mask generator, so that equal settings give
equal masks. A mask lives as run lengths, and is brought to the image's size only around itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from perception.instances import Instances
from perception.ops.boxes import as_boxes, box_area, nms
from perception.ops.masks import clean_rle, cut_out, mask_to_box, rle_area, window_to_rle
from perception.ops.windows import Tile
from perception.predictor.everything_settings import (
    Crop,
    EverythingSettings,
    picture_crops,
    points_in,
)
from perception.predictor.predictions import MaskPredictions
from perception.predictor.protocol import EncodedImage, MaskPredictor
from perception.runtime.batching import Stopwatch
from perception.types import FloatArray, ImageArray, Proposals, Rle

_NEAR = 20
"""SAM's tolerance: a box that ends so few pixels from a crop's edge was cut by it."""


_PREDICTED_AGAIN = 100
"""Proposals at most that a predictor which zooms predicts again by their boxes."""

_LIMITS = ("quality", "stability", "cut", "repeated", "small")
"""At what candidates fall, in this order."""


class _Mask(NamedTuple):
    """One mask on its way through the filters, in pixels of the image."""

    rle: Rle
    box: FloatArray
    quality: float
    stability: float
    point: FloatArray
    crop: Crop


def find_everything(
    predictor: MaskPredictor,
    image: ImageArray,
    settings: EverythingSettings,
    *,
    step: Callable[[int], object] | None = None,
) -> Instances:
    """Return all that a grid of points finds in an image H x W x 3, by falling quality.

    Where the predictor zooms, the best proposals, whatever their quality, are predicted once more
    by their boxes, and the limits of quality and stability are of these predictions.

    Args:
        predictor: Turns prompts into masks.
        image: The image.
        settings: The grid, the limits and the crops.
        step: Called after each batch of points, with their number.

    Returns:
        Masks of one class. ``dropped`` counts the candidates, and those that fell below the limit
        of quality or stability, that were cut by the edge of a crop, that repeat a better one, and
        that are too small.
    """
    watch = Stopwatch()
    masks: list[_Mask] = []
    dropped = Counter(dict.fromkeys(("candidates", *_LIMITS), 0))
    encoded = predictor.encode(image, watch=watch)
    crops = picture_crops(image.shape[:2], settings.crop_layers, settings.crop_overlap)
    zooms = encoded.refines_proposals
    proposing = replace(settings, quality=0.0, stability=0.0) if zooms else settings
    for crop in crops:
        found = list(_masks_in(encoded, crop, proposing, watch, step, dropped))
        masks += _unlike(found, [mask.quality for mask in found], settings.nms)
    with watch("select"):
        if len(crops) > 1:  # Small crops show most detail.
            sizes = box_area([mask.crop.box for mask in masks])
            masks = _unlike(masks, 1 / sizes, settings.crop_nms)
    if zooms:
        masks = _predicted_again(encoded, masks, settings, watch, dropped)
    with watch("select"):
        if settings.min_region:
            masks = _cleaned(masks, settings)
        large = [mask for mask in masks if rle_area(mask.rle) >= settings.min_area]
        dropped["small"] += len(masks) - len(large)
        large.sort(key=lambda mask: -mask.quality)
    # What is left and what fell elsewhere are known: all others repeat one that is left.
    dropped["repeated"] = 2 * dropped["candidates"] - dropped.total() - len(large)
    return _instances(large, image, watch, dropped)


def _predicted_again(
    encoded: EncodedImage,
    masks: list[_Mask],
    settings: EverythingSettings,
    watch: Stopwatch,
    dropped: Counter[str],
) -> list[_Mask]:
    """Predict the best masks by their boxes, and apply the limits to all."""
    masks = sorted(masks, key=lambda mask: -mask.quality)
    best, rest = masks[:_PREDICTED_AGAIN], masks[_PREDICTED_AGAIN:]
    predicted = encoded.predict_boxes(as_boxes([mask.box for mask in best]))
    again = MaskPredictions.of(((n, found[0]) for n, found in predicted), watch=watch)
    dropped["small"] += len(best) - len(again.rles)
    known = [best[n] for n in again.prompt_ids]
    masks = [
        mask._replace(rle=rle, box=box, quality=float(quality), stability=float(stability))
        for mask, rle, box, quality, stability in zip(
            known, again.rles, again.boxes, again.quality, again.stability, strict=True
        )
    ] + rest
    good = []
    for mask in masks:
        if settings.quality and mask.quality < settings.quality:
            dropped["quality"] += 1
        elif mask.stability < settings.stability:
            dropped["stability"] += 1
        else:
            good.append(mask)
    return _unlike(good, [mask.quality for mask in good], settings.nms)


def _masks_in(
    encoded: EncodedImage,
    crop: Crop,
    settings: EverythingSettings,
    watch: Stopwatch,
    step: Callable[[int], object] | None,
    dropped: Counter[str],
) -> Iterator[_Mask]:
    """What the points of one crop find; the logits of one batch of points exist at a time."""
    window, image_hw = Tile(*crop.box), encoded.image.shape[:2]
    points = points_in(settings.grid_of(crop), crop)
    for start in range(0, len(points), settings.points_per_batch):
        some = points[start : start + settings.points_per_batch]
        least = settings.quality or -np.inf  # 0 lets all through, also what is predicted below
        proposals = encoded.propose(some, crop=window, min_quality=least)
        dropped["candidates"] += 3 * len(some)
        dropped["quality"] += 3 * len(some) - len(proposals)
        with watch("masks"):
            found = list(_stable_masks(proposals, some, crop, image_hw, settings, dropped))
        yield from found
        if step is not None:
            step(len(some))


def _stable_masks(
    proposals: Proposals,
    points: FloatArray,
    crop: Crop,
    image_hw: tuple[int, int],
    settings: EverythingSettings,
    dropped: Counter[str],
) -> Iterator[_Mask]:
    """Proposals of one crop that are stable enough and not cut by the crop's edge."""
    for logits, quality, prompt_id in zip(
        proposals.logits, proposals.quality, proposals.prompt_ids, strict=True
    ):
        pixels, (left, top), stability = cut_out(
            logits, proposals.frame, offset=settings.stability_offset
        )
        if np.float32(stability) < np.float32(settings.stability):
            dropped["stability"] += 1
            continue
        box = mask_to_box(pixels)
        if not box.any():
            dropped["small"] += 1
            continue
        left, top = left + crop.x0, top + crop.y0
        box += np.array([left, top] * 2, np.float32)
        if _is_cut(box, crop, image_hw):
            dropped["cut"] += 1
            continue
        rle = window_to_rle(pixels, (left, top), image_hw)
        point = points[prompt_id] + np.array([crop.x0, crop.y0], np.float32)
        yield _Mask(rle, box, float(quality), stability, point, crop)


def _is_cut(box: FloatArray, crop: Crop, image_hw: tuple[int, int]) -> bool:
    """Whether a box, 4, ends near a side of its crop that isn't the image's own edge."""
    height, width = image_hw
    (sides,) = _to_last_pixel(box[None])
    near_crop = np.abs(sides - np.array(crop.box)) <= _NEAR
    near_edge = np.abs(sides - np.array([0, 0, width, height])) <= _NEAR
    return bool((near_crop & ~near_edge).any())


def _unlike(masks: Sequence[_Mask], scores: ArrayLike, iou_threshold: float) -> list[_Mask]:
    """Masks whose boxes differ: of those alike the one with the highest score, highest first."""
    boxes = _to_last_pixel(as_boxes([mask.box for mask in masks]))
    return [masks[n] for n in nms(boxes, scores, iou_threshold=iou_threshold)]


def _to_last_pixel(boxes: FloatArray) -> FloatArray:
    """Boxes N x 4 as SAM has them, up to the last pixel inside.

    Its thresholds are compared with these: of small boxes they give another IoU.
    """
    return boxes - np.array([0, 0, 1, 1], np.float32)


def _cleaned(masks: Sequence[_Mask], settings: EverythingSettings) -> list[_Mask]:
    """The masks without small holes and loose parts, and without those that became alike."""
    cleaned: list[_Mask] = []
    for mask in masks:
        rle, box = clean_rle(mask.rle, mask.box, settings.min_region)
        cleaned.append(mask._replace(rle=rle, box=box))
    untouched = [new.rle is old.rle for new, old in zip(cleaned, masks, strict=True)]
    return _unlike(cleaned, np.array(untouched, np.float32), max(settings.nms, settings.crop_nms))


def _instances(
    masks: Sequence[_Mask], image: ImageArray, watch: Stopwatch, dropped: Counter[str]
) -> Instances:
    height, width = image.shape[:2]
    quality = np.array([mask.quality for mask in masks], np.float32)
    return Instances(
        image_hw=(height, width),
        classes=("object",),
        boxes=as_boxes([mask.box for mask in masks]),
        scores=np.clip(quality, 0, 1),
        class_ids=np.zeros(len(masks), np.int64),
        rles=tuple(mask.rle for mask in masks),
        quality=quality,
        stability=np.array([mask.stability for mask in masks], np.float32),
        points=np.array([mask.point for mask in masks], np.float32).reshape(-1, 2),
        crop_boxes=as_boxes([mask.crop.box for mask in masks]),
        image=image,
        seconds=watch.seconds,
        dropped=dict(dropped),
    )
