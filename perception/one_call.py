"""From a picture to an answer in one call, which loads the model on the way."""

from __future__ import annotations

from numpy.typing import ArrayLike

from perception.defaults import (
    AUTO,
    CROP_LAYERS,
    CROP_OVERLAP,
    MAX_PIXELS,
    MIN_AREA,
    MIN_REGION,
    MODEL,
    NMS,
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    STABILITY_OFFSET,
    THREADS,
)
from perception.images import ImageSource
from perception.instances import Instances
from perception.loading import load


def everything(
    image: ImageSource,
    model: str = MODEL,
    *,
    points_per_side: int = POINTS_PER_SIDE,
    grid: ArrayLike | None = None,
    points_per_batch: int = POINTS_PER_BATCH,
    quality: float | None = None,
    stability: float | None = None,
    stability_offset: float = STABILITY_OFFSET,
    nms: float = NMS,
    crop_layers: int = CROP_LAYERS,
    crop_nms: float = NMS,
    crop_overlap: float = CROP_OVERLAP,
    crop_downscale: int = 1,
    min_region: int = MIN_REGION,
    min_area: int = MIN_AREA,
    max_pixels: int = MAX_PIXELS,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int = THREADS,
) -> Instances:
    """Cuts out all that a grid of points finds: ``load(model).everything(image)``.

    For many pictures load the model once. Settings and errors are those of ``Model.everything``,
    and those of ``load``.
    """
    return load(model, device=device, precision=precision, threads=threads).everything(
        image,
        points_per_side=points_per_side,
        grid=grid,
        points_per_batch=points_per_batch,
        quality=quality,
        stability=stability,
        stability_offset=stability_offset,
        nms=nms,
        crop_layers=crop_layers,
        crop_nms=crop_nms,
        crop_overlap=crop_overlap,
        crop_downscale=crop_downscale,
        min_region=min_region,
        min_area=min_area,
        max_pixels=max_pixels,
    )
