"""Settings of segment-everything, and the grid of points that it prompts with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perception.checks import checked_array, checked_count, checked_number
from perception.defaults import (
    CROP_LAYERS,
    CROP_OVERLAP,
    MIN_AREA,
    MIN_REGION,
    NMS,
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    QUALITY,
    STABILITY,
    STABILITY_OFFSET,
)
from perception.errors import PromptError
from perception.types import FloatArray


class Crop(NamedTuple):
    """A part of the image, half-open, in pixels. layer: 0 for the whole image."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1)."""
        return self[:4]


def point_grid(per_side: int) -> NDArray[np.float64]:
    """per_side x per_side points, N x 2 (x, y) in 0..1, row by row, in the middle of cells."""
    places = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(places, places)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def points_in(grid: NDArray[np.float64], crop: Crop) -> FloatArray:
    """A grid N x 2 in 0..1 as pixels of a crop, N x 2; a 1 is the last place inside."""
    size = np.array([crop.x1 - crop.x0, crop.y1 - crop.y0], np.float32)
    points: FloatArray = np.minimum((grid * size).astype(np.float32), np.nextafter(size, 0))
    return points


def picture_crops(image_hw: tuple[int, int], layers: int, overlap: float) -> list[Crop]:
    """The whole image, then for each layer n its 2^n x 2^n crops, column by column.

    overlap: of neighbours in layer 1, as a share of the image's shorter side; it halves with
    every layer. An image may be too small for all crops: those without a pixel are left out.
    """
    height, width = image_hw
    crops = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap * min(height, width) * (2 / count))
        crops += [
            Crop(x0, y0, x1, y1, layer)
            for x0, x1 in _spans(width, count, shared)
            for y0, y1 in _spans(height, count, shared)
        ]
    return crops


def _spans(length: int, count: int, shared: int) -> list[tuple[int, int]]:
    """``count`` equal spans over a length, of which neighbours share some pixels."""
    span = ceil((shared * (count - 1) + length) / count)
    starts = ((span - shared) * n for n in range(count))
    return [(start, min(start + span, length)) for start in starts if start < length]


class MaskLimits(NamedTuple):
    """The least quality and stability, 0..1, of the masks that segment-everything keeps.

    What a model predicts for itself differs from model to model, and so do the limits that suit it.
    """

    quality: float = QUALITY
    stability: float = STABILITY


SAM_LIMITS = MaskLimits()
"""SAM's own."""

MAX_POINTS = 100_000
"""Points that one image may be asked about: more would take hours."""
MAX_LAYERS = 8
"""Layers of crops, which quadruple each time."""


@dataclass(frozen=True, eq=False)
class EverythingSettings:
    """Settings of segment-everything; the defaults are SAM's own. Raises PromptError if unusable.

    points_per_side: of the grid, in each crop; grid: N x 2 (x, y) in 0..1 of a crop, instead.
    points_per_batch: how many are decoded at once. quality, stability: the least of a mask, 0..1
    (0 lets all through); stability_offset: by how much the threshold moves to measure it.
    nms: of masks whose boxes have a larger IoU the best stays. crop_layers: layer n adds 4^n crops
    of the image; crop_nms: as nms, between crops; crop_overlap: of neighbours, as a share of the
    image's shorter side; crop_downscale: divides points_per_side with each layer.
    min_region: smaller holes and loose parts, in pixels, are filled and dropped; min_area: smaller
    masks are left out.
    """

    points_per_side: int = POINTS_PER_SIDE
    grid: ArrayLike | None = None
    points_per_batch: int = POINTS_PER_BATCH
    quality: float = QUALITY
    stability: float = STABILITY
    stability_offset: float = STABILITY_OFFSET
    nms: float = NMS
    crop_layers: int = CROP_LAYERS
    crop_nms: float = NMS
    crop_overlap: float = CROP_OVERLAP
    crop_downscale: int = 1
    min_region: int = MIN_REGION
    min_area: int = MIN_AREA

    def __post_init__(self) -> None:
        for name in ("points_per_side", "points_per_batch", "crop_downscale"):
            checked_count(name, getattr(self, name), 1)
        for name in ("crop_layers", "min_region", "min_area"):
            checked_count(name, getattr(self, name), 0)
        self._check("crop_layers", self.crop_layers <= MAX_LAYERS, f"at most {MAX_LAYERS}")
        for name in ("quality", "stability", "nms", "crop_nms", "crop_overlap"):
            checked_number(name, getattr(self, name), 0, 1)
        self._check("crop_overlap", self.crop_overlap < 1, "less than 1")
        checked_number("stability_offset", self.stability_offset, 0, np.inf)
        self._check("stability_offset", self.stability_offset < np.inf, "finite")
        if self.grid is not None:
            object.__setattr__(self, "grid", _checked_grid(self.grid))
        if self.point_count > MAX_POINTS:
            raise PromptError(
                f"{self.point_count} points are more than the {MAX_POINTS} that one image may "
                "be asked about: take fewer points_per_side or crop_layers"
            )

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise PromptError(f"{name} is {expected}, got {getattr(self, name)}")

    def _per_side(self, layer: int) -> int:
        return max(1, int(self.points_per_side / self.crop_downscale**layer))

    @property
    def point_count(self) -> int:
        """How many points one image is asked about, in all its crops."""
        listed = None if self.grid is None else len(np.asarray(self.grid))
        return sum(
            4**layer * (self._per_side(layer) ** 2 if listed is None else listed)
            for layer in range(self.crop_layers + 1)
        )

    def grid_of(self, crop: Crop) -> NDArray[np.float64]:
        """The places to ask about in a crop, N x 2 in 0..1 of it."""
        if self.grid is not None:
            return np.asarray(self.grid, np.float64)
        return point_grid(self._per_side(crop.layer))

    def to_info(self) -> dict[str, Any]:
        """All settings by name, as JSON can hold them."""
        info = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.grid is None:
            del info["grid"]
        else:
            info["grid"] = np.asarray(self.grid).tolist()
            del info["points_per_side"]
        return info


def _checked_grid(grid: ArrayLike) -> NDArray[np.float64]:
    points = checked_array("grid", grid, np.float64, (None, 2), PromptError)
    if not len(points):
        raise PromptError("a grid is N x 2 places (x, y) with N > 0, got none")
    if not ((points >= 0) & (points <= 1)).all():
        raise PromptError("a grid's places lie in 0..1: divide pixels by the image's size")
    return points
