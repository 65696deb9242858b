"""Samples for the segmenter: pictures, prompts on them, and the mask that each prompt means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from box_loss import likeness
from clicks import point_in
from numpy.random import Generator
from photos import Backgrounds, BoxedPhotos, MaskedPhotos, MaskedPicture, seen
from scenes.scene import Painter, Style
from torch import Tensor
from torch.utils.data import IterableDataset
from views import recolored

from perception.ops.masks import mask_to_box
from perception.segmenters.sam.prompt_encoder import BOTTOM_RIGHT, IN, PAD, TOP_LEFT

WEAK_SHARE = 0.1  # of a batch with photographs: pictures of which only boxes are known
BOX_SHARE = 0.7  # of the pictures with masks: asked by a box; the others, by a point
CLOSE_TO_BOX = 0.75  # how often a picture that is asked by a box is a close view of it
CLOSE_TO_POINT, NEAR_POINT = 0.3, 0.4  # the same of a point; how often it is a view around it
SHARES = {
    "coco_train92": 0.35,
    "photos_permissive": 0.5,
    "photos_more/clothing": 0.07,
    "photos_more/flowers": 0.06,
    "photos_more/trashnet": 0.02,
}
"""Of the photographs with masks, how often each set is taken, of those that are there."""

KEPT_OUT = {
    "coco_train92": 10,
    "photos_more/clothing": 25,
    "photos_more/flowers": 12,
    "photos_more/trashnet": 3,
}
"""How many photographs of a set, the last ones by file name, judge trainings and never teach."""

CHOSEN = 0.9  # how often a close view is asked for what it is a view of
LEAST_PIXELS = 16  # a drawn thing that shows less is not asked for
GROUP_SHARE = 0.12  # how often a point on overlapping things means all of them


@dataclass
class WeakBatch:
    """images: W x S x S x 3 uint8; coords: W x 2 x 2, the corners of a box of each; alike:
    W x 4 x S/2 x S/2, see ``box_loss.likeness``.
    """

    images: Tensor
    coords: Tensor
    alike: Tensor


@dataclass
class SegmentationBatch:
    """images: B x S x S x 3 uint8. One prompt each, a box or a lone point: coords B x 2 x 2, labels
    B x 2; masks: B x S x S bool, what it means. boxes: how many of them, the first ones, are boxes.

    weak: further pictures, of which only boxes are known.
    """

    images: Tensor
    coords: Tensor
    labels: Tensor
    masks: Tensor
    boxes: int
    weak: WeakBatch | None = None


class SegmentationBatches(IterableDataset[SegmentationBatch]):
    """Endless batches; ``data`` may hold photographs to teach with (see --data, --masked)."""

    def __init__(
        self,
        *,
        side: int,
        size: int,
        seed: int,
        data: Path | None,
        masked: Path | None = None,
        more: bool = False,
    ) -> None:
        self.side, self.size, self.seed = side, size, seed
        self.data, self.masked, self.more = data, masked, more

    def __iter__(self) -> Iterator[SegmentationBatch]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        artist = Artist(self.data, self.masked, more=self.more)
        boxed = (
            BoxedPhotos(self.data / "photos_permissive") if self.data and not self.more else None
        )
        for step in count():
            rng = np.random.default_rng((2, self.seed, worker, step))
            weak = round(WEAK_SHARE * self.size) if boxed else 0
            boxes = round(BOX_SHARE * (self.size - weak))
            asked = [
                _ask_by_box(artist.draw(self.side, rng, close=CLOSE_TO_BOX), rng)
                for _ in range(boxes)
            ]
            asked += [
                _ask_by_point(
                    artist.draw(self.side, rng, close=CLOSE_TO_POINT, near=NEAR_POINT), rng
                )
                for _ in range(self.size - weak - boxes)
            ]
            batch = _collate(asked, boxes)
            if boxed and weak:
                batch.weak = _collate_weak(
                    [boxed.cut(self.side, rng, close=CLOSE_TO_BOX) for _ in range(weak)], rng
                )
            yield batch


class Artist:
    """Draws pictures with masks: scenes on textures or photographs, and photographs themselves.

    masked: the masks that a network found for ``photos_permissive``; more: with ``photos_more``,
    and without the ``KEPT_OUT`` of each set.
    """

    def __init__(
        self, data: Path | None, masked: Path | None = None, *, more: bool = False
    ) -> None:
        self.painter = Painter()
        out = KEPT_OUT if more else {}
        self.photos = []
        self.shares = []
        for name, share in SHARES.items():
            instances = masked if name == "photos_permissive" else None
            is_wanted = name == "coco_train92" or (
                instances if name == "photos_permissive" else more
            )
            if data and is_wanted:
                self.photos.append(MaskedPhotos(data / name, instances, kept_out=out.get(name, 0)))
                self.shares.append(share)
        self.backgrounds = Backgrounds(data / "photos_permissive") if data else None

    def draw(
        self, side: int, rng: Generator, *, close: float = 0, near: float = 0
    ) -> MaskedPicture:
        """A side x side picture with at least one thing; close, near: see ``photos.seen``.

        With photographs: seven in ten are some, one in ten is a background with things of other
        photographs pasted onto it, the others are scenes, a quarter of them on photographs.
        """
        while True:
            kind = rng.random()
            photos = self._photos(rng)
            if photos is None or self.backgrounds is None or kind >= 0.8:
                on_photo = self.backgrounds is not None and kind >= 0.95
                picture = self._scene(side, rng, on_photo=on_photo, close=close, near=near)
            elif kind >= 0.7:
                picture = _pasted(photos, self.backgrounds, side, rng, close=close, near=near)
            else:
                picture = photos.cut(side, rng, close=close, near=near)
            picture = picture.with_masks_of(LEAST_PIXELS)
            if len(picture.masks):
                return replace(picture, image=recolored(picture.image, rng))

    def _photos(self, rng: Generator) -> MaskedPhotos | None:
        """Those of which the next picture may be."""
        if not self.photos:
            return None
        shares = np.array(self.shares)
        return self.photos[int(rng.choice(len(shares), p=shares / shares.sum()))]

    def _scene(
        self, side: int, rng: Generator, *, on_photo: bool, close: float, near: float
    ) -> MaskedPicture:
        """A view of a scene: all of it, or a part in which a thing is large."""
        shape = np.array([1.0, rng.uniform(0.6, 1.0)])[:: int(rng.choice([-1, 1]))]
        height, width = (int(n) for n in np.round(side * rng.choice([1.0, 1.6]) * shape))
        on = self.backgrounds.cut((height, width), rng) if self.backgrounds and on_photo else None
        scene = self.painter.draw((height, width), rng, Style(things=(2, 8)), on)
        if not scene.things:
            return MaskedPicture(scene.image, np.zeros((0, height, width), bool))
        masks = [scene.mask(n).astype(np.uint8) for n in range(len(scene.things))]
        return seen(scene.image, masks, scene.boxes, side, rng, close=close, near=near)


def _pasted(
    photos: MaskedPhotos,
    backgrounds: Backgrounds,
    side: int,
    rng: Generator,
    *,
    close: float,
    near: float,
) -> MaskedPicture:
    """A view of a photograph with things of others on it."""
    size = int(side * rng.choice([1.0, 1.6]))
    background = backgrounds.cut((size, size), rng)
    empty = MaskedPicture(background, np.zeros((0, size, size), bool))
    picture = photos.with_pasted(empty, rng).with_masks_of(LEAST_PIXELS)
    if not len(picture.masks):
        return picture
    boxes = np.stack([mask_to_box(mask) for mask in picture.masks])
    masks = [mask.astype(np.uint8) for mask in picture.masks]
    return seen(picture.image, masks, boxes, side, rng, close=close, near=near)


Asked = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A picture S x S x 3 uint8, the two coords of a prompt, 2 x 2, and the mask S x S it means."""


def _ask_by_box(picture: MaskedPicture, rng: Generator) -> Asked:
    mask = picture.masks[_one_of(picture, rng)]
    return picture.image, loose_box(mask, rng).reshape(2, 2).astype(np.float32), mask


def _ask_by_point(picture: MaskedPicture, rng: Generator) -> Asked:
    if picture.click is None:
        mask = picture.masks[_one_of(picture, rng)]
        click = point_in(mask, rng)
    else:
        mask, click = picture.masks[picture.chosen], picture.click
    coords = np.array([click, (0, 0)], np.float32)
    if rng.random() < GROUP_SHARE:
        mask = _group(mask, picture.masks)
    return picture.image, coords, mask


def _one_of(picture: MaskedPicture, rng: Generator) -> int:
    if picture.chosen >= 0 and rng.random() < CHOSEN:
        return picture.chosen
    return int(rng.integers(len(picture.masks)))


def _collate(asked: list[Asked], boxes: int) -> SegmentationBatch:
    """boxes: how many of them, the first ones, are asked by a box."""
    images, coords, masks = (torch.from_numpy(np.stack(each)) for each in zip(*asked, strict=True))
    labels = torch.tensor([[IN, PAD]]).repeat(len(asked), 1)
    labels[:boxes] = torch.tensor([TOP_LEFT, BOTTOM_RIGHT])
    return SegmentationBatch(images, coords, labels, masks, boxes)


def _collate_weak(pictures: list[tuple[np.ndarray, np.ndarray]], rng: Generator) -> WeakBatch:
    """Of pictures S x S x 3 with a box each."""
    lab = []
    for image, _ in pictures:
        size = (len(image) // 2, len(image) // 2)
        half = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        lab.append(cv2.cvtColor(half, cv2.COLOR_RGB2LAB))
    return WeakBatch(
        torch.from_numpy(np.stack([recolored(image, rng) for image, _ in pictures])),
        torch.from_numpy(np.stack([box.reshape(2, 2) for _, box in pictures])),
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


def _group(mask: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A mask with everything that touches it."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching = (masks & grown).any((1, 2))
    return masks[touching].any(0)
