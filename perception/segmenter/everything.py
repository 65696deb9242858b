"""Segment everything: a grid of points asks a segmenter for all that it can cut out of a picture.

The steps and their order are those of SAM's automatic mask generator, so that equal settings give
equal masks. A mask lives as run lengths, and is brought to the picture's size only around itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from perception.boxes import as_boxes, box_area, nms
from perception.instances import Instances
from perception.masks import cut_out, mask_to_box, rle_area, window_to_rle
from perception.regions import clean_rle
from perception.segmenter.everything_settings import EverythingSettings
from perception.segmenter.point_grid import Crop, picture_crops, points_in
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.types import FloatArray, ImageArray, Proposals, Rle

_NEAR = 20
"""SAM's tolerance: a box that ends so few pixels from a crop's edge was cut by it."""


class _Mask(NamedTuple):
    """One mask on its way through the filters, in pixels of the picture."""

    rle: Rle
    box: FloatArray
    quality: float
    stability: float
    point: FloatArray
    crop: Crop


def find_everything(
    segmenter: Segmenter,
    image: ImageArray,
    settings: EverythingSettings,
    *,
    step: Callable[[int], object] | None = None,
) -> Instances:
    """All that a grid of points finds in a picture H x W x 3, by falling quality.

    step: called after each batch of points, with their number.
    """
    watch = Stopwatch()
    masks: list[_Mask] = []
    crops = picture_crops(image.shape[:2], settings.crop_layers, settings.crop_overlap)
    for crop in crops:
        found = list(_masks_in(segmenter, image, crop, settings, watch, step))
        masks += _unlike(found, [mask.quality for mask in found], settings.nms)
    with watch("select"):
        if len(crops) > 1:  # Small crops show most detail.
            sizes = box_area([mask.crop.box for mask in masks])
            masks = _unlike(masks, 1 / sizes, settings.crop_nms)
        if settings.min_region:
            masks = _cleaned(masks, settings)
        masks = [mask for mask in masks if rle_area(mask.rle) >= settings.min_area]
        masks.sort(key=lambda mask: -mask.quality)
    return _instances(masks, image, watch)


def _masks_in(
    segmenter: Segmenter,
    image: ImageArray,
    crop: Crop,
    settings: EverythingSettings,
    watch: Stopwatch,
    step: Callable[[int], object] | None,
) -> Iterator[_Mask]:
    """What the points of one crop find; the logits of one batch of points exist at a time."""
    x0, y0, x1, y1 = crop.box
    with watch("encode"):
        embedding = segmenter.encode(np.ascontiguousarray(image[y0:y1, x0:x1]))
    points = points_in(settings.grid_of(crop), crop)
    for start in range(0, len(points), settings.points_per_batch):
        some = points[start : start + settings.points_per_batch]
        with watch("decode"):
            least = (
                settings.limits()[0] or -np.inf
            )  # 0 lets all through, also what is predicted below
            proposals = segmenter.propose(embedding, some, least_quality=least)
        with watch("masks"):
            found = list(_stable_masks(proposals, some, crop, image.shape[:2], settings))
        yield from found
        if step is not None:
            step(len(some))


def _stable_masks(
    proposals: Proposals,
    points: FloatArray,
    crop: Crop,
    image_hw: tuple[int, int],
    settings: EverythingSettings,
) -> Iterator[_Mask]:
    """Proposals of one crop that are stable enough and not cut by the crop's edge."""
    for logits, quality, prompt_id in zip(
        proposals.logits, proposals.quality, proposals.prompt_ids, strict=True
    ):
        pixels, (left, top), stability = cut_out(
            logits, proposals.frame, offset=settings.stability_offset
        )
        if np.float32(stability) < np.float32(settings.limits()[1]):
            continue
        box = mask_to_box(pixels)
        if not box.any():
            continue
        left, top = left + crop.x0, top + crop.y0
        box += np.array([left, top] * 2, np.float32)
        if _is_cut(box, crop, image_hw):
            continue
        rle = window_to_rle(pixels, (left, top), image_hw)
        point = points[prompt_id] + np.array([crop.x0, crop.y0], np.float32)
        yield _Mask(rle, box, float(quality), stability, point, crop)


def _is_cut(box: FloatArray, crop: Crop, image_hw: tuple[int, int]) -> bool:
    """Whether a box, 4, ends near a side of its crop that isn't the picture's own edge."""
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


def _instances(masks: Sequence[_Mask], image: ImageArray, watch: Stopwatch) -> Instances:
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
    )
