"""Photographs to teach the segmenter with: some have masks, some boxes, some are backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from pasting import CutOut, cut_out, paste
from pycocotools.coco import COCO
from views import draw_view

from perception.images import read_image
from perception.masks import mask_to_box

LEAST_PIXELS = 100  # smaller masks, after cutting, teach nothing
LEAST_SIDE = 16  # pixels of a box that teaches: its numbers are whole pixels, too coarse for less


@dataclass(frozen=True)
class MaskedPicture:
    """A square picture with its things: image S x S x 3 uint8, masks N x S x S bool."""

    image: np.ndarray
    masks: np.ndarray


def seen(
    image: np.ndarray, masks: Sequence[np.ndarray], boxes: np.ndarray, side: int, rng: Generator
) -> MaskedPicture:
    """A view, side x side, of a picture with N masks H x W uint8 and their boxes N x 4 xyxy."""
    view = draw_view(image.shape[:2], _one_of(boxes, rng), side, rng)
    return MaskedPicture(view.of_image(image), np.stack([view.of_mask(mask) for mask in masks]))


class MaskedPhotos:
    """A folder with ``images/`` and ``instances.json``, held in memory."""

    def __init__(self, folder: Path) -> None:
        coco = COCO(str(folder / "instances.json"))
        self.photos: list[tuple[np.ndarray, list[np.ndarray], np.ndarray]] = []
        self.cut_outs: list[CutOut] = []
        for index, entry in coco.imgs.items():
            image = read_image(folder / "images" / entry["file_name"])
            things = [a for a in coco.imgToAnns[index] if not a["iscrowd"]]
            masks = [coco.annToMask(a).astype(np.uint8) for a in things]
            masks = [mask for mask in masks if mask.any()]
            if masks:
                boxes = np.stack([mask_to_box(mask > 0) for mask in masks])
                self.photos.append((image, masks, boxes))
                cut = [cut_out(image, mask) for mask in masks]
                self.cut_outs += [thing for thing in cut if thing is not None]

    def cut(self, side: int, rng: Generator) -> MaskedPicture:
        """A view of one, side x side."""
        image, masks, boxes = self.photos[int(rng.integers(len(self.photos)))]
        picture = seen(image, masks, boxes, side, rng)
        return MaskedPicture(
            picture.image, picture.masks[picture.masks.sum((1, 2)) >= LEAST_PIXELS]
        )

    def with_pasted(self, picture: MaskedPicture, rng: Generator) -> MaskedPicture:
        """A picture with one to three of these photographs' things pasted onto it."""
        if not self.cut_outs:
            return picture
        count = int(rng.integers(1, 4))
        things = [self.cut_outs[int(rng.integers(len(self.cut_outs)))] for _ in range(count)]
        return MaskedPicture(*paste(picture.image, picture.masks, things, rng))


class BoxedPhotos:
    """A folder with ``images/`` and ``boxes.json``: things of which only the box is known."""

    def __init__(self, folder: Path) -> None:
        coco = COCO(str(folder / "boxes.json"))
        self.photos: list[tuple[np.ndarray, np.ndarray]] = []
        for index, entry in coco.imgs.items():
            found = np.array([a["bbox"] for a in coco.imgToAnns[index]], np.float32).reshape(-1, 4)
            found[:, 2:] += found[:, :2]
            found = found[(found[:, 2:] - found[:, :2]).min(1) >= LEAST_SIDE]
            if len(found):
                self.photos.append((read_image(folder / "images" / entry["file_name"]), found))

    def cut(self, side: int, count: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        """A view of one, side x side x 3, and ``count`` of its boxes, xyxy, some perhaps twice."""
        while True:
            image, boxes = self.photos[int(rng.integers(len(self.photos)))]
            box = _one_of(boxes, rng)
            view = draw_view(image.shape[:2], box, side, rng)
            moved = np.stack([view.of_box(one) for one in boxes])
            moved = moved[(moved[:, 2:] - moved[:, :2]).min(1) >= LEAST_SIDE / 2]
            if len(moved):
                return view.of_image(image), moved[rng.integers(len(moved), size=count)]


def _one_of(boxes: np.ndarray, rng: Generator) -> np.ndarray:
    """One of N boxes, a large one rather than a small one: by the root of its area."""
    weight = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1).astype(np.float64))
    chosen: np.ndarray = boxes[int(rng.choice(len(boxes), p=weight / weight.sum()))]
    return chosen


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
