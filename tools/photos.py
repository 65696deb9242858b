"""Photographs to teach the segmenter with: some have masks, some boxes, some are backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from clicks import point_in
from numpy.random import Generator
from pasting import CutOut, cut_out, paste
from pycocotools.coco import COCO
from views import draw_view, view_around

from perception.imaging.read import read_image
from perception.ops.masks import mask_to_box

LEAST_PIXELS = 100  # smaller masks, after cutting, teach nothing
MIN_SIDE = 16  # pixels of a box that teaches: its numbers are whole pixels, too coarse for less


@dataclass(frozen=True)
class MaskedPicture:
    """A square picture with its things: image S x S x 3 uint8, masks N x S x S bool.

    chosen: which thing the picture is a view of; -1: none. click: the (x, y) in that thing around
    which it is one, if there is one.
    """

    image: np.ndarray
    masks: np.ndarray
    chosen: int = -1
    click: tuple[float, float] | None = None

    def with_masks_of(self, pixels: int) -> MaskedPicture:
        """The same without the things of which fewer pixels show."""
        kept = self.masks.sum((1, 2)) >= pixels
        shown = 0 <= self.chosen < len(kept) and kept[self.chosen]
        return replace(
            self,
            masks=self.masks[kept],
            chosen=int(kept[: self.chosen].sum()) if shown else -1,
            click=self.click if shown else None,
        )


def seen(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    boxes: np.ndarray,
    side: int,
    rng: Generator,
    *,
    close: float = 0,
    near: float = 0,
) -> MaskedPicture:
    """A view, side x side, of a picture with N masks H x W uint8 and their boxes N x 4 xyxy.

    close: how often one of a thing, see ``draw_view``; near: how often one around a click.
    """
    chosen, click = _one_of(boxes, rng), None
    if near and rng.random() < near:
        click = point_in(masks[chosen], rng)
        view = view_around(image.shape[:2], click, boxes[chosen], side, rng)
        click = view.of_point(click)
    else:
        view = draw_view(image.shape[:2], boxes[chosen], side, rng, close=close)
    shown = np.stack([view.of_mask(mask) for mask in masks])
    if click and not shown[chosen, int(click[1]), int(click[0])]:
        click = None  # a thin part that shrinking took away
    return MaskedPicture(view.of_image(image), shown, chosen, click)


class MaskedPhotos:
    """A folder with ``images/`` and ``instances.json``, held in memory.

    instances: the file, where it isn't the folder's own; kept_out: how many photographs, the last
    ones by file name, aren't read, so that a training can be judged by them.
    """

    def __init__(self, folder: Path, instances: Path | None = None, *, kept_out: int = 0) -> None:
        coco = COCO(str(instances or folder / "instances.json"))
        out = set(last_images(coco, kept_out))
        self.photos: list[tuple[np.ndarray, list[np.ndarray], np.ndarray]] = []
        self.cut_outs: list[CutOut] = []
        for index, entry in coco.imgs.items():
            if index in out:
                continue
            image = read_image(folder / "images" / entry["file_name"])
            things = [a for a in coco.imgToAnns[index] if not a["iscrowd"]]
            masks = [coco.annToMask(a).astype(np.uint8) for a in things]
            masks = [mask for mask in masks if mask.any()]
            if masks:
                boxes = np.stack([mask_to_box(mask > 0) for mask in masks])
                self.photos.append((image, masks, boxes))
                cut = [cut_out(image, mask) for mask in masks]
                self.cut_outs += [thing for thing in cut if thing is not None]

    def cut(self, side: int, rng: Generator, *, close: float = 0, near: float = 0) -> MaskedPicture:
        """A view of one, side x side; close, near: see ``seen``."""
        image, masks, boxes = self.photos[int(rng.integers(len(self.photos)))]
        picture = seen(image, masks, boxes, side, rng, close=close, near=near)
        return picture.with_masks_of(LEAST_PIXELS)

    def with_pasted(self, picture: MaskedPicture, rng: Generator) -> MaskedPicture:
        """A picture with one to three of these photographs' things pasted onto it."""
        if not self.cut_outs:
            return picture
        count = int(rng.integers(1, 4))
        things = [self.cut_outs[int(rng.integers(len(self.cut_outs)))] for _ in range(count)]
        return MaskedPicture(*paste(picture.image, picture.masks, things, rng))


def last_images(coco: COCO, count: int) -> list[int]:
    """The ids of the last ``count`` photographs by file name."""
    ordered = sorted(coco.imgs.values(), key=lambda entry: str(entry["file_name"]))
    return [int(entry["id"]) for entry in ordered[len(ordered) - count :]]


class BoxedPhotos:
    """A folder with ``images/`` and ``boxes.json``: things of which only the box is known."""

    def __init__(self, folder: Path) -> None:
        coco = COCO(str(folder / "boxes.json"))
        self.photos: list[tuple[np.ndarray, np.ndarray]] = []
        for index, entry in coco.imgs.items():
            found = np.array([a["bbox"] for a in coco.imgToAnns[index]], np.float32).reshape(-1, 4)
            found[:, 2:] += found[:, :2]
            found = found[(found[:, 2:] - found[:, :2]).min(1) >= MIN_SIDE]
            if len(found):
                self.photos.append((read_image(folder / "images" / entry["file_name"]), found))

    def cut(self, side: int, rng: Generator, *, close: float = 0) -> tuple[np.ndarray, np.ndarray]:
        """A view of one, side x side x 3, and one of its boxes, 4 (xyxy); see ``draw_view``."""
        while True:
            image, boxes = self.photos[int(rng.integers(len(self.photos)))]
            box = boxes[_one_of(boxes, rng)]
            view = draw_view(image.shape[:2], box, side, rng, close=close)
            moved = view.of_box(box)
            if (moved[2:] - moved[:2]).min() >= MIN_SIDE / 2:
                return view.of_image(image), moved


def _one_of(boxes: np.ndarray, rng: Generator) -> int:
    """Which of N boxes: a large one rather than a small one, by the fourth root of its area."""
    weight = (boxes[:, 2:] - boxes[:, :2]).prod(1).astype(np.float64) ** 0.25
    return int(rng.choice(len(boxes), p=weight / weight.sum()))


class Backgrounds:
    """Photographs without masks, as backgrounds to draw on; shrunk, held in memory."""

    def __init__(self, folder: Path, longest: int = 400) -> None:
        self.photos = []
        for path in sorted((folder / "images").glob("*.jpg")):
            image = read_image(path)
            scale = longest / max(image.shape)
            size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
            self.photos.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))

    def cut(self, hw: tuple[int, int], rng: Generator) -> np.ndarray:
        """A random photograph, stretched to H x W."""
        photo = self.photos[int(rng.integers(len(self.photos)))]
        return cv2.resize(photo, hw[::-1], interpolation=cv2.INTER_LINEAR)
