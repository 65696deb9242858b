"""Batches for the segmenter: pictures, prompts on them, and the mask that each prompt means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from box_loss import likeness
from numpy.random import Generator
from photos import Backgrounds, BoxedPhotos, MaskedPhotos, MaskedPicture, seen
from scenes.scene import Painter, Style
from torch import Tensor
from torch.utils.data import IterableDataset
from views import recoloured

from perception.segmenter.prompt_encoder import BOTTOM_RIGHT, IN, PAD, TOP_LEFT

PROMPTS = 2  # boxes of each picture, and as many lone points
WEAK_SHARE = 0.2  # of a batch with photographs: pictures of which only boxes are known
LEAST_PIXELS = 16  # a drawn thing that shows less is not asked for
GROUP_SHARE = 0.12  # how often a point on overlapping things means all of them


@dataclass
class WeakBatch:
    """images: W x S x S x 3 uint8; coords: W·PROMPTS x 2 x 2, the corners of boxes; alike:
    W x 4 x S/2 x S/2, see ``box_loss.likeness``.
    """

    images: Tensor
    coords: Tensor
    alike: Tensor


@dataclass
class SegmentationBatch:
    """images: B x S x S x 3 uint8. Boxes and lone points are P prompts each, ``PROMPTS`` a picture:
    coords P x 2 x 2, labels P x 2, masks P x S x S bool. Prompt p is on picture p // PROMPTS.

    weak: further pictures, of which only boxes are known.
    """

    images: Tensor
    box_coords: Tensor
    box_labels: Tensor
    box_masks: Tensor
    point_coords: Tensor
    point_labels: Tensor
    point_masks: Tensor
    weak: WeakBatch | None = None


class SegmentationBatches(IterableDataset[SegmentationBatch]):
    """Endless batches; ``data`` may hold photographs to teach with (see --data)."""

    def __init__(self, *, side: int, size: int, seed: int, data: Path | None) -> None:
        self.side, self.size, self.seed, self.data = side, size, seed, data

    def __iter__(self) -> Iterator[SegmentationBatch]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        artist = Artist(self.data)
        boxed = BoxedPhotos(self.data / "photos_permissive") if self.data else None
        for step in count():
            rng = np.random.default_rng((2, self.seed, worker, step))
            weak = round(WEAK_SHARE * self.size) if boxed else 0
            batch = _collate([artist.draw(self.side, rng) for _ in range(self.size - weak)], rng)
            if boxed and weak:
                batch.weak = _collate_weak(
                    [boxed.cut(self.side, PROMPTS, rng) for _ in range(weak)], rng
                )
            yield batch


class Artist:
    """Draws pictures with masks: scenes on textures or photographs, and photographs themselves."""

    def __init__(self, data: Path | None) -> None:
        self.painter = Painter()
        self.photos = MaskedPhotos(data / "coco_train92") if data else None
        self.backgrounds = Backgrounds(data / "photos_permissive") if data else None

    def draw(self, side: int, rng: Generator) -> MaskedPicture:
        """A side x side picture with at least one thing.

        With photographs: half are some, with other photographs' things pasted onto one in three;
        one in eight is a background with pasted things; the others are scenes, a third of them on
        photographs.
        """
        while True:
            kind = rng.random()
            if self.photos is None or self.backgrounds is None or kind >= 0.63:
                on_photo = self.backgrounds is not None and kind >= 0.88
                picture = self._scene(side, rng, on_photo=on_photo)
            elif kind >= 0.5:
                empty = MaskedPicture(
                    self.backgrounds.cut((side, side), rng), np.zeros((0, side, side), bool)
                )
                picture = self._recoloured(self.photos.with_pasted(empty, rng), rng)
            else:
                picture = self.photos.cut(side, rng)
                if rng.random() < 0.33:
                    picture = self.photos.with_pasted(picture, rng)
                picture = self._recoloured(picture, rng)
            masks = picture.masks[picture.masks.sum((1, 2)) >= LEAST_PIXELS]
            if len(masks):
                return MaskedPicture(picture.image, masks)

    def _recoloured(self, picture: MaskedPicture, rng: Generator) -> MaskedPicture:
        return MaskedPicture(recoloured(picture.image, rng), picture.masks)

    def _scene(self, side: int, rng: Generator, *, on_photo: bool) -> MaskedPicture:
        """A view of a scene: all of it, or a part in which a thing is large."""
        shape = np.array([1.0, rng.uniform(0.6, 1.0)])[:: int(rng.choice([-1, 1]))]
        height, width = (int(n) for n in np.round(side * rng.choice([1.0, 1.6]) * shape))
        on = self.backgrounds.cut((height, width), rng) if self.backgrounds and on_photo else None
        scene = self.painter.draw((height, width), rng, Style(things=(2, 8)), on)
        if not scene.things:
            return MaskedPicture(scene.image, np.zeros((0, height, width), bool))
        masks = [scene.mask(n).astype(np.uint8) for n in range(len(scene.things))]
        return seen(scene.image, masks, scene.boxes, side, rng)


def _collate(pictures: list[MaskedPicture], rng: Generator) -> SegmentationBatch:
    boxes, points, box_masks, point_masks = [], [], [], []
    for picture in pictures:
        masks = picture.masks
        for _ in range(PROMPTS):
            mask = masks[int(rng.integers(len(masks)))]
            boxes.append(loose_box(mask, rng).reshape(2, 2))
            box_masks.append(mask)
            mask = masks[int(rng.integers(len(masks)))]
            points.append([point_in(mask, rng), (0, 0)])
            point_masks.append(_group(mask, masks) if rng.random() < GROUP_SHARE else mask)
    count = len(boxes)
    return SegmentationBatch(
        torch.from_numpy(np.stack([picture.image for picture in pictures])),
        torch.from_numpy(np.array(boxes, np.float32)),
        torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]).repeat(count, 1),
        torch.from_numpy(np.stack(box_masks)),
        torch.from_numpy(np.array(points, np.float32)),
        torch.tensor([[IN, PAD]]).repeat(count, 1),
        torch.from_numpy(np.stack(point_masks)),
    )


def _collate_weak(pictures: list[tuple[np.ndarray, np.ndarray]], rng: Generator) -> WeakBatch:
    """Of pictures S x S x 3 with ``PROMPTS`` boxes each."""
    lab = []
    for image, _ in pictures:
        size = (len(image) // 2, len(image) // 2)
        half = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        lab.append(cv2.cvtColor(half, cv2.COLOR_RGB2LAB))
    return WeakBatch(
        torch.from_numpy(np.stack([recoloured(image, rng) for image, _ in pictures])),
        torch.from_numpy(np.concatenate([boxes.reshape(-1, 2, 2) for _, boxes in pictures])),
        likeness(torch.from_numpy(np.stack(lab)).permute(0, 3, 1, 2)),
    )


def loose_box(mask: np.ndarray, rng: Generator) -> np.ndarray:
    """The box of a mask S x S, xyxy, each edge moved a little: what a hand or a detector gives."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    size = np.tile(box[2:] - box[:2], 2)
    spread = rng.choice([0.0, 0.03, 0.07])
    moved = box + np.clip(rng.normal(0, spread, 4), -0.15, 0.15) * size
    return np.clip(moved, 0, mask.shape[0])


def point_in(mask: np.ndarray, rng: Generator) -> tuple[float, float]:
    """A place (x, y) in a mask S x S: anywhere, or as deep inside as it goes."""
    if rng.random() < 0.4:
        y, x = divmod(deepest(mask), mask.shape[1])
    else:
        inside = np.flatnonzero(mask)
        y, x = divmod(int(inside[rng.integers(len(inside))]), mask.shape[1])
    return float(x) + rng.random(), float(y) + rng.random()


def deepest(mask: np.ndarray) -> int:
    """The flat index of the place in a mask h x w that is farthest from its border."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return int(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1].argmax())


def _group(mask: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A mask with everything that touches it."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = (masks & grown).any((1, 2))
    return masks[touching].any(0)
