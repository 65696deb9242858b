"""Tiles: a large image in overlapping pieces of one size."""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from perception.errors import PromptError
from perception.imaging.preprocess import RGB_MEAN
from perception.types import FloatArray, ImageArray

_Value = TypeVar("_Value", bound=np.generic)

OVERLAP = 0.2
"""The least that neighbouring tiles share, as a part of their side."""

MIN_SIDE = 32
"""Pixels; a smaller tile shows nothing that a model could tell."""


MEAN_COLOR = np.round(RGB_MEAN).astype(np.uint8)


TileSize = int | Literal["auto"] | None
"""The side of a tile in pixels; "auto" is what the detector sees unreduced, None is no tiles."""


class Tile(NamedTuple):
    """A part of an image, half-open, in whole pixels; a view may reach beyond the image."""

    x0: int
    y0: int
    x1: int
    y1: int

    def cut_from(self, image: ImageArray) -> ImageArray:
        """The pixels h x w x 3 of this part of an image H x W x 3.

        They are the image's own where it lies in it; what is beyond has the mean color, as a
        model's padding has.
        """
        inside = self.inside((image.shape[0], image.shape[1]))
        part = image[inside.y0 : inside.y1, inside.x0 : inside.x1]
        if inside == self:
            return part
        out = np.empty((self.y1 - self.y0, self.x1 - self.x0, 3), np.uint8)
        out[:] = MEAN_COLOR
        y, x = inside.y0 - self.y0, inside.x0 - self.x0
        out[y : y + len(part), x : x + part.shape[1]] = part
        return out

    def inside(self, image_hw: tuple[int, int]) -> Tile:
        """What of it lies in an image of (height, width)."""
        height, width = image_hw
        return Tile(max(self.x0, 0), max(self.y0, 0), min(self.x1, width), min(self.y1, height))

    def pasted(self, masks: NDArray[_Value], image_hw: tuple[int, int]) -> NDArray[_Value]:
        """Masks, or chances, ... x h x w of this part as ... x H x W of an image (height, width).

        Beyond this part they are 0. Of the whole image they are the same array.
        """
        if self == (0, 0, *image_hw[::-1]):
            return masks
        whole = np.zeros((*masks.shape[:-2], *image_hw), masks.dtype)
        x0, y0, x1, y1 = self.inside(image_hw)
        if x0 < x1 and y0 < y1:
            whole[..., y0:y1, x0:x1] = masks[
                ..., y0 - self.y0 : y1 - self.y0, x0 - self.x0 : x1 - self.x0
            ]
        return whole

    def holds(self, box: FloatArray) -> bool:
        """Whether a box, 4 (xyxy), lies wholly inside."""
        x0, y0, x1, y1 = box
        return bool(self.x0 <= x0 and self.y0 <= y0 and x1 <= self.x1 and y1 <= self.y1)


def check_tile(tile: TileSize) -> None:
    """Raises PromptError for what is no size of a tile."""
    if tile is None or tile == "auto":
        return
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < MIN_SIDE:
        raise PromptError(
            f'the side of a tile is "auto" or at least {MIN_SIDE} pixels, got {tile!r}'
        )


def tiles(image_hw: tuple[int, int], side: int) -> tuple[Tile, ...]:
    """The tiles of side x side that cover an image of (height, width), row by row.

    They are spread evenly, share at least ``OVERLAP`` of their side, and are narrower only where
    the image is.
    """
    height, width = image_hw
    return tuple(
        Tile(x, y, min(x + side, width), min(y + side, height))
        for y in _starts(height, side)
        for x in _starts(width, side)
    )


def _starts(length: int, side: int) -> list[int]:
    """Where the tiles along one side of an image begin."""
    if length <= side:
        return [0]
    shared = ceil(side * OVERLAP)
    gaps = ceil((length - side) / (side - shared))
    return [n * (length - side) // gaps for n in range(gaps + 1)]
