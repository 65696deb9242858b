"""Photographs with COCO masks, cut at random, as scenes for the segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from pycocotools.coco import COCO

from perception.images import read_image

LEAST_PIXELS = 100  # smaller masks, after cutting, teach nothing


@dataclass(frozen=True)
class MaskedPicture:
    """A square picture with its things: image S x S x 3 uint8, masks N x S x S bool."""

    image: np.ndarray
    masks: np.ndarray


class MaskedPhotos:
    """A folder with ``images/`` and ``instances.json``, held in memory."""

    def __init__(self, folder: Path) -> None:
        coco = COCO(str(folder / "instances.json"))
        self.photos: list[tuple[np.ndarray, list[np.ndarray]]] = []
        for index, entry in coco.imgs.items():
            image = read_image(folder / "images" / entry["file_name"])
            things = [a for a in coco.imgToAnns[index] if not a["iscrowd"]]
            masks = [coco.annToMask(a).astype(np.uint8) for a in things]
            if masks:
                self.photos.append((image, masks))

    def cut(self, side: int, rng: Generator) -> MaskedPicture:
        """A random piece, flipped half of the time, scaled to side x side."""
        image, masks = self.photos[int(rng.integers(len(self.photos)))]
        height, width = image.shape[:2]
        size = int(min(height, width) * rng.uniform(0.45, 1.0))
        y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        flip = -1 if rng.random() < 0.5 else 1
        piece = np.ascontiguousarray(image[y : y + size, x : x + size][:, ::flip])
        cut = [
            cv2.resize(
                np.ascontiguousarray(mask[y : y + size, x : x + size][:, ::flip]),
                (side, side),
                interpolation=cv2.INTER_NEAREST,
            )
            for mask in masks
        ]
        kept = [mask > 0 for mask in cut if mask.sum() >= LEAST_PIXELS]
        stacked = np.stack(kept) if kept else np.zeros((0, side, side), bool)
        return MaskedPicture(cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA), stacked)


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
