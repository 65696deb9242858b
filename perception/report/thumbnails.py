"""Thumbnails of instances with their masks, and what a review shows of an instance."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from perception.errors import ImageError, MissingExtraError
from perception.formats.draw import draw_overlay
from perception.imaging.read import printable, read_image
from perception.instances import Instances
from perception.ops.boxes import box_area, clip_boxes
from perception.ops.masks import mask_to_box, mask_to_rle, rle_to_mask
from perception.report.html import Watch, unwatched
from perception.runs.image_reader import stamp_of
from perception.runs.remote import is_url, join, read_url
from perception.runs.results import Result
from perception.types import FloatArray, ImageArray, Rle

SIDE = 160
"""The longer side of a thumbnail in pixels."""

_AROUND = 1.4
"""How much wider than its instance a cut-out is."""

_MIN = 24
"""The least side of a cut-out, in pixels of the image: a dot is shown with what is around it."""

_QUALITY = 80


class Thumbnail(NamedTuple):
    """A JPEG file's bytes, its width and its height."""

    jpeg: bytes
    width: int
    height: int


class Window(NamedTuple):
    """A part of an image, half-open, in pixels."""

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

    folder: which their pictures' names start from, or its URL. An image is read once, one at a
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
    """The image of some instances, H x W x 3, smaller where that is enough; or what is wrong."""
    now, before = stamp_of(path), shown[0]
    if now is None and not is_url(path):  # Of a URL, reading it says what is wrong.
        return "the image is no longer there"
    if now is not None and before.file_bytes not in (None, now.bytes):
        return "the image is another now"
    needed = min(window(one).longest for one in shown)
    reduced = next((factor for factor in (8, 4, 2) if needed >= factor * SIDE), 1)
    try:
        source = read_url(path) if is_url(path) else path
        image = read_image(source, max_pixels=max_pixels, reduced=reduced)
    except (ImageError, MissingExtraError) as error:
        return str(error).removeprefix(f"{printable(path)}: ").removeprefix("picture: ")
    except MemoryError:
        return "not enough memory to read the image"
    fits = any(
        image.shape[:2] == tuple(-(-side // factor) for side in before.image_hw)
        for factor in (1, reduced)
    )
    return image if fits else "the image has another size now"


def window(one: Shown) -> Window:
    """A square around an instance, moved and cut so that it lies in the image."""
    (height, width), (x0, y0, x1, y1) = one.image_hw, one.box
    side = max(math.ceil(max(x1 - x0, y1 - y0) * _AROUND), _MIN)
    left, right = _span((x0 + x1 - side) // 2, side, width)
    top, bottom = _span((y0 + y1 - side) // 2, side, height)
    return Window(left, top, right, bottom)


def _span(start: int, length: int, room: int) -> tuple[int, int]:
    start = max(min(start, room - length), 0)
    return start, min(start + length, room)


def _draw(image: ImageArray, one: Shown, classes: Sequence[str]) -> Thumbnail:
    """image: H x W x 3, the whole image, at its own size or smaller."""
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


@dataclass(frozen=True)
class Shown:
    """One instance.

    name, image_hw, file_bytes: its image's, the last None where it isn't known; box: xyxy, tight
    around the mask; score: None where a hand made it; runner_up: class id, -1 for none; margin:
    score less the runner-up's; quality, stability: the segmenter's; consensus: of its masks for the
    box; agreement: IoU of ``box`` and the detector's, cut at the image's edges.
    """

    name: str
    image_hw: tuple[int, int]
    file_bytes: int | None
    box: tuple[int, int, int, int]
    rle: Rle
    class_id: int
    score: float | None
    runner_up: int
    margin: float
    quality: float
    stability: float
    consensus: float
    agreement: float


def shown_instances(result: Result, *, threshold: float) -> Iterator[Shown]:
    """The instances of an image of a run that score at least ``threshold``, or all its marks."""
    found, picture = result.instances, result.picture
    runner_up, margin = _stored(found, "runner_up", -1), _stored(found, "margin", 1)
    quality, stability = _stored(found, "quality", 1), _stored(found, "stability", 1)
    agreement = agreements(found.boxes, clip_boxes(result.detected, picture.image_hw))
    for n in np.flatnonzero((found.scores >= threshold) | (picture.revision > 0)).tolist():
        x0, y0, x1, y1 = found.boxes[n].astype(int).tolist()
        yield Shown(
            name=picture.name,
            image_hw=picture.image_hw,
            file_bytes=picture.file.bytes if picture.file else None,
            box=(x0, y0, x1, y1),
            rle=found.rles[n],
            class_id=int(found.class_ids[n]),
            score=None if np.isnan(found.scores[n]) else float(found.scores[n]),
            runner_up=int(runner_up[n]),
            margin=float(margin[n]),
            quality=float(quality[n]),
            stability=float(stability[n]),
            consensus=float(result.consensus[n]),
            agreement=float(agreement[n]),
        )


def _stored(found: Instances, name: str, missing: float) -> NDArray[Any]:
    """Numbers of instances, N; missing: in the place of those that no model gave."""
    values = getattr(found, name)
    if values is None:
        return np.full(len(found), missing)
    known: NDArray[Any] = np.where(np.isnan(values), missing, values)
    return known


def agreements(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union of each box N x 4 with the other of its row, N."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:], others[:, 2:])
    shared = box_area(np.concatenate([low, high], axis=1))
    union = box_area(boxes) + box_area(others) - shared
    ious: FloatArray = shared / np.maximum(union, np.finfo(np.float32).tiny)
    return ious
