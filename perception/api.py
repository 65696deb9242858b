"""From an image to a result in one call, which loads the model on the way."""

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
    THRESHOLD,
)
from perception.errors import PromptError
from perception.imaging.read import ImageSource
from perception.instances import Instances
from perception.models.load import load
from perception.prompts.grammar import PromptText


def segment(
    image: ImageSource,
    text: PromptText | None = None,
    *,
    points: ArrayLike | None = None,
    point_labels: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    threshold: float = THRESHOLD,
    model: str = MODEL,
    device: str = AUTO,
) -> Instances:
    """Segment what a text names, or what points or boxes show, in one image.

    The same as ``load(model)(image, text)`` and ``load(model).segment(image, points=..., ...)``,
    which have more options. For many images load the model once.

    Args:
        image: A path, the bytes of a file, a Pillow image or a uint8 array H x W x 3 (RGB).
        text: What to find: the prompt grammar, a list of names, or classes with their phrases.
        points: K x 2 (x, y) in pixels, all together one prompt.
        point_labels: K, 1 = in, 0 = out (default: all 1).
        boxes: N x 4 xyxy in pixels, each a prompt of its own, or one that the points refine.
        threshold: The least score of a phrase, 0..1.
        model: Its name, as ``load`` takes it.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        PromptError: For a text, points or boxes that can't be used, for none, and for both.
        ImageError: For an image that can't be read.
        WeightsError, DeviceError, MissingExtraError: As ``load``.
    """
    shows = points is not None or boxes is not None
    if (text is None) != shows:
        raise PromptError("give either a text, or points and boxes")
    loaded = load(model, device=device)
    if text is not None:
        return loaded(image, text, threshold=threshold)
    return loaded.segment(image, points=points, point_labels=point_labels, boxes=boxes)


def detect(
    image: ImageSource,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
    model: str = MODEL,
    device: str = AUTO,
) -> Instances:
    """Find what a text names in one image, boxes only: ``load(model).detect(image, text)``.

    Arguments and errors are those of ``segment``.
    """
    return load(model, device=device).detect(image, text, threshold=threshold)


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

    For many images load the model once. Settings and errors are those of ``Model.everything``,
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
