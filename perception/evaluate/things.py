"""Things whose masks are known: prompts are made for them, and answers held against them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.errors import EvaluationError
from perception.images import printable, read_image
from perception.masks import rle_area, rle_to_box, rle_to_mask
from perception.types import BoolArray, FloatArray, ImageArray, Rle

SIZES = ("small", "medium", "large")
_SMALL, _MEDIUM = 32**2, 96**2
"""COCO's limits, in pixels of the mask: below the first is small, below the second medium."""


@dataclass(frozen=True)
class Thing:
    """One thing. id: unique in its picture; inside: its mask; unknown: pixels nobody has judged.

    The two don't overlap, and ``inside`` has at least one pixel.
    """

    id: str
    label: str
    inside: Rle
    unknown: Rle | None = None

    @property
    def truth(self) -> BoolArray:
        """Its mask H x W."""
        return np.ascontiguousarray(rle_to_mask(self.inside))

    @property
    def known(self) -> BoolArray | None:
        """The pixels H x W that count; None if all do."""
        return None if self.unknown is None else np.ascontiguousarray(~rle_to_mask(self.unknown))

    @property
    def box(self) -> FloatArray:
        """Tight around the mask, 4 (xyxy)."""
        return rle_to_box(self.inside)

    @property
    def size(self) -> str:
        """One of ``SIZES``, by the pixels of its mask."""
        return size_of(rle_area(self.inside))


def size_of(area: float) -> str:
    """COCO's name for a thing of so many pixels."""
    return SIZES[0] if area < _SMALL else SIZES[1] if area < _MEDIUM else SIZES[2]


@dataclass(frozen=True)
class TruePicture:
    """A picture with its things. file_name: from the pictures' folder, POSIX."""

    file_name: str
    path: Path
    image_hw: tuple[int, int]
    things: tuple[Thing, ...]

    def read(self) -> ImageArray:
        """RGB uint8 H x W x 3; ImageError if it can't be read, EvaluationError for another size."""
        image = read_image(self.path)
        if image.shape[:2] != self.image_hw:
            have, want = (f"{w} x {h}" for h, w in (image.shape[:2], self.image_hw))
            raise EvaluationError(
                f"{printable(str(self.path))}: {have} pixels, its truth has {want}: "
                "name the folder of the very pictures that the truth was made for"
            )
        return image


@dataclass(frozen=True)
class Things:
    """A set of pictures with their things.

    name: of the file or folder it comes from; folder: of the pictures; sha256: of the truth;
    left_out: things that can't be asked about, by why.
    """

    name: str
    folder: Path
    pictures: tuple[TruePicture, ...]
    sha256: str
    left_out: dict[str, int]

    def limited(self, count: int) -> Things:
        """Return the objects of the first images; how many images that leaves out is noted."""
        cut = len(self.pictures) - count
        if cut <= 0:
            return self
        left_out = {**self.left_out, "images beyond the limit": cut}
        return replace(self, pictures=self.pictures[:count], left_out=left_out)

    def __len__(self) -> int:
        return sum(len(picture.things) for picture in self.pictures)

    def __iter__(self) -> Iterator[tuple[TruePicture, Thing]]:
        for picture in self.pictures:
            for thing in picture.things:
                yield picture, thing
