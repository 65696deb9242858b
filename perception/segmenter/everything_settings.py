"""What segment-everything can be told, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from perception.segmenter.point_grid import Crop, point_grid

MOST_POINTS = 100_000
"""Points that one picture may be asked about: more would take hours."""
MOST_LAYERS = 8
"""Layers of crops, which quadruple each time."""


@dataclass(frozen=True, eq=False)
class EverythingSettings:
    """Settings of segment-everything; the defaults are SAM's own. Raises PromptError if unusable.

    points_per_side: of the grid, in each crop; grid: N x 2 (x, y) in 0..1 of a crop, instead.
    points_per_batch: how many are decoded at once. quality, stability: the least of a mask, 0..1
    (0 lets all through; None: SAM's limits, or the segmenter's own, see ``close_ups``);
    stability_offset: by how much the threshold moves to measure it.
    nms: of masks whose boxes have a larger IoU the best stays. crop_layers: layer n adds 4^n crops
    of the picture; crop_nms: as nms, between crops; crop_overlap: of neighbours, as a share of the
    picture's shorter side; crop_downscale: divides points_per_side with each layer.
    min_region: smaller holes and loose parts, in pixels, are filled and dropped; min_area: smaller
    masks are left out.
    """

    points_per_side: int = POINTS_PER_SIDE
    grid: ArrayLike | None = None
    points_per_batch: int = POINTS_PER_BATCH
    quality: float | None = None
    stability: float | None = None
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
            self._check(name, _is_whole(getattr(self, name), 1), "a whole number of at least 1")
        for name in ("crop_layers", "min_region", "min_area"):
            self._check(name, _is_whole(getattr(self, name), 0), "a whole number of at least 0")
        self._check("crop_layers", self.crop_layers <= MOST_LAYERS, f"at most {MOST_LAYERS}")
        for name in ("quality", "stability", "nms", "crop_nms"):
            value = getattr(self, name)
            self._check(name, value is None or 0 <= value <= 1, "between 0 and 1")
        self._check("crop_overlap", 0 <= self.crop_overlap < 1, "at least 0 and less than 1")
        self._check("stability_offset", 0 <= self.stability_offset < np.inf, "at least 0")
        if self.grid is not None:
            object.__setattr__(self, "grid", _checked_grid(self.grid))
        if self.point_count > MOST_POINTS:
            raise PromptError(
                f"{self.point_count} points are more than the {MOST_POINTS} that one picture may "
                "be asked about: take fewer points_per_side or crop_layers"
            )

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise PromptError(f"{name} is {expected}, got {getattr(self, name)}")

    def _per_side(self, layer: int) -> int:
        return max(1, int(self.points_per_side / self.crop_downscale**layer))

    @property
    def point_count(self) -> int:
        """How many points one picture is asked about, in all its crops."""
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

    def limits(self) -> tuple[float, float]:
        """The least quality and stability of a mask; SAM's where none are set."""
        return (
            QUALITY if self.quality is None else self.quality,
            STABILITY if self.stability is None else self.stability,
        )

    def to_info(self) -> dict[str, Any]:
        """All settings by name, as JSON can hold them."""
        info = {field.name: getattr(self, field.name) for field in fields(self)}
        info["quality"], info["stability"] = self.limits()
        if self.grid is None:
            del info["grid"]
        else:
            info["grid"] = np.asarray(self.grid).tolist()
            del info["points_per_side"]
        return info


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and bool(value >= least)


def _checked_grid(grid: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(grid, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise PromptError(f"a grid is N x 2 places (x, y) with N > 0, got {points.shape}")
    if not ((points >= 0) & (points <= 1)).all():
        raise PromptError("a grid's places lie in 0..1: divide pixels by the picture's size")
    return points
