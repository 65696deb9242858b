"""Thumbnails: a square cut-out around an instance, with its mask drawn on it, as a small JPEG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from os import PathLike
from typing import NamedTuple

import numpy as np
from PIL import Image

from perception.annotate.reading import stamp_of
from perception.annotate.remote import is_url, join, read_url
from perception.annotate.review.shown import Shown
from perception.annotate.review.watch import Watch, unwatched
from perception.errors import ImageError, MissingExtraError
from perception.images import printable, read_image
from perception.instances import Instances
from perception.masks import mask_to_box, mask_to_rle, rle_to_mask
from perception.overlay import draw_overlay
from perception.types import ImageArray

SIDE = 160
"""The longer side of a thumbnail in pixels."""

_AROUND = 1.4
"""How much wider than its instance a cut-out is."""

_LEAST = 24
"""The least side of a cut-out, in pixels of the picture: a dot is shown with what is around it."""

_QUALITY = 80


class Thumbnail(NamedTuple):
    """A JPEG file's bytes, its width and its height."""

    jpeg: bytes
    width: int
    height: int


class Window(NamedTuple):
    """A part of a picture, half-open, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def longest(self) -> int:
        """Its longer side."""
        return max(self.x1 - self.x0, self.y1 - self.y0)


def draw_thumbnails(
    shown: Iterable[Shown],
    *,
    classes: Sequence[str],
    folder: PathLike[str] | str,
    max_pixels: int,
    watch: Watch = unwatched,
) -> dict[Shown, Thumbnail | str]:
    """Each instance's thumbnail, or in a few words why there is none.

    folder: which their pictures' names start from, or its URL. A picture is read once, one at a
    time.
    """
    by_name = sorted(set(shown), key=lambda one: (one.name, one.box, one.class_id, one.score or 0))
    groups = [list(group) for _, group in groupby(by_name, key=lambda one: one.name)]
    drawn: dict[Shown, Thumbnail | str] = {}
    for group in watch(groups, total=len(groups)):
        image = _read(join(folder, group[0].name), group, max_pixels)
        for one in group:
            drawn[one] = image if isinstance(image, str) else _draw(image, one, classes)
    return drawn


def _read(path: str, shown: Sequence[Shown], max_pixels: int) -> ImageArray | str:
    """The picture of some instances, H x W x 3, smaller where that is enough; or what is wrong."""
    now, before = stamp_of(path), shown[0]
    if now is None and not is_url(path):  # Of a URL, reading it says what is wrong.
        return "the picture is no longer there"
    if now is not None and before.file_bytes not in (None, now.bytes):
        return "the picture is another now"
    needed = min(window(one).longest for one in shown)
    reduced = next((factor for factor in (8, 4, 2) if needed >= factor * SIDE), 1)
    try:
        source = read_url(path) if is_url(path) else path
        image = read_image(source, max_pixels=max_pixels, reduced=reduced)
    except (ImageError, MissingExtraError) as error:
        return str(error).removeprefix(f"{printable(path)}: ").removeprefix("picture: ")
    except MemoryError:
        return "not enough memory to read the picture"
    fits = any(
        image.shape[:2] == tuple(-(-side // factor) for side in before.image_hw)
        for factor in (1, reduced)
    )
    return image if fits else "the picture has another size now"


def window(one: Shown) -> Window:
    """A square around an instance, moved and cut so that it lies in the picture."""
    (height, width), (x0, y0, x1, y1) = one.image_hw, one.box
    side = max(math.ceil(max(x1 - x0, y1 - y0) * _AROUND), _LEAST)
    left, right = _span((x0 + x1 - side) // 2, side, width)
    top, bottom = _span((y0 + y1 - side) // 2, side, height)
    return Window(left, top, right, bottom)


def _span(start: int, length: int, room: int) -> tuple[int, int]:
    start = max(min(start, room - length), 0)
    return start, min(start + length, room)


def _draw(image: ImageArray, one: Shown, classes: Sequence[str]) -> Thumbnail:
    """image: H x W x 3, the whole picture, at its own size or smaller."""
    part = window(one)
    scale = SIDE / part.longest
    size = (_scaled(part.x1 - part.x0, scale), _scaled(part.y1 - part.y0, scale))
    across, down = image.shape[1] / one.image_hw[1], image.shape[0] / one.image_hw[0]
    place = (part.x0 * across, part.y0 * down, part.x1 * across, part.y1 * down)
    crop = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=place))
    covered = rle_to_mask(one.rle)[part.y0 : part.y1, part.x0 : part.x1].astype(np.uint8) * 255
    # Wherever the mask touches a pixel: a thin one doesn't get lost.
    mask = np.asarray(Image.fromarray(covered).resize(size, Image.Resampling.BOX)) > 0
    drawn = draw_overlay(
        Instances(
            image_hw=(size[1], size[0]),
            classes=tuple(classes),
            boxes=mask_to_box(mask)[None],
            scores=np.array([one.score or 0], np.float32),
            class_ids=np.array([one.class_id], np.int64),
            rles=(mask_to_rle(mask),),
        ),
        crop,
        labels=False,
    )
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Thumbnail(file.getvalue(), *size)


def _scaled(length: int, scale: float) -> int:
    return max(1, round(length * scale))
