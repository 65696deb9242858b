"""Photographs with boxes and names, as scenes for the detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from pycocotools.coco import COCO
from scenes.scene import Scene
from scenes.words import Words
from views import draw_view, recolored

from perception.imaging.read import read_image

FOLDERS = {"coco_train92": "instances.json", "photos_permissive": "boxes.json"}
MIN_SIDE = 6  # pixels of a box in a view; of less the detector isn't asked

MOSAIC = 0.5
"""How often four views, each of another photograph, share a picture: four times the things for the
time of one (Bochkovskiy et al. 2020, "YOLOv4", section 3.4).
"""

CLOSE = 0.15, 0.5  # how often a view is of one thing: of those alone, and of those in fours
LEAST_CLOSE, MOST_CLOSE = 40, 0.7
"""How long a thing of a close view is: at least so many pixels, at most this share of its picture.
"""

LEAST_LEFT = 0.4  # a thing of which the view shows less counts as not there
BACKDROP_CELLS = 3, 10  # of a blurred photograph, in each direction: fewest, and one more than most
BY_CLASS = 0.5  # how often a photograph is chosen for a class, each as often as any other


@dataclass(frozen=True)
class Photo:
    """image: H x W x 3 uint8; boxes: N x 4 xyxy; names: of each box."""

    image: np.ndarray
    boxes: np.ndarray
    names: list[str]


class NamedPhotos:
    """The photographs of a data folder (see --data), held in memory.

    names: their classes. All things of these classes are boxed in each photograph.
    """

    def __init__(self, data: Path, *, most: int) -> None:
        self.photos: list[Photo] = []
        classes: dict[str, list[int]] = {}
        for folder, file in FOLDERS.items():
            for photo in _read(data / folder, file):
                if 0 < len(photo.names) <= most:
                    for name in set(photo.names):
                        classes.setdefault(name, []).append(len(self.photos))
                    self.photos.append(photo)
        self.names = sorted(classes)
        self._of_class = [classes[name] for name in self.names]

    def draw(self, side: int, rng: Generator) -> Scene:
        """One photograph's view or four, side x side; the things go by their classes."""
        if rng.random() >= MOSAIC:
            return self._view(side, rng, close=CLOSE[0])
        return in_fours([self._view(side // 2, rng, close=CLOSE[1]) for _ in range(4)])

    def backdrop(self, hw: tuple[int, int], rng: Generator) -> np.ndarray:
        """A photograph, H x W x 3, so blurred that nothing in it can be recognised."""
        image = self.photos[int(rng.integers(len(self.photos)))].image
        cells = int(rng.integers(*BACKDROP_CELLS))
        few = cv2.resize(image, (cells, cells), interpolation=cv2.INTER_AREA)
        return cv2.resize(few, hw[::-1], interpolation=cv2.INTER_CUBIC)

    def _view(self, side: int, rng: Generator, *, close: float) -> Scene:
        while True:
            photo, n = self._choose(rng)
            hw, box = photo.image.shape[:2], photo.boxes[n]
            length = (box[2:] - box[:2]).max()
            fits = LEAST_CLOSE <= length <= max(hw) * MOST_CLOSE
            view = draw_view(hw, box, side, rng, close=close if fits else 0)
            boxes = np.stack([view.of_box(box) for box in photo.boxes])
            whole = np.stack([view.of_box(box, clip=False) for box in photo.boxes])
            left = _area(boxes) / np.maximum(_area(whole), 1e-6)
            seen = left >= LEAST_LEFT
            kept = seen & ((boxes[:, 2:] - boxes[:, :2]).min(1) >= MIN_SIDE)
            if kept.any():
                things = [Words(name) for name, k in zip(photo.names, kept, strict=True) if k]
                image = recolored(view.of_image(photo.image), rng)
                return Scene(image, np.full((side, side), -1, np.int16), boxes[kept], things)

    def _choose(self, rng: Generator) -> tuple[Photo, int]:
        """A photograph and one of its boxes."""
        if rng.random() < BY_CLASS:
            k = int(rng.integers(len(self.names)))
            photo = self.photos[int(rng.choice(self._of_class[k]))]
            rows = [n for n, name in enumerate(photo.names) if name == self.names[k]]
            return photo, int(rng.choice(rows))
        photo = self.photos[int(rng.integers(len(self.photos)))]
        return photo, int(rng.integers(len(photo.names)))


def _read(folder: Path, file: str) -> list[Photo]:
    coco = COCO(str(folder / file))
    photos = []
    for index, entry in coco.imgs.items():
        things = coco.imgToAnns[index]
        if not things or any(thing["iscrowd"] for thing in things):
            continue  # in a crowd not everyone is boxed
        boxes = np.array([thing["bbox"] for thing in things], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        names = [coco.cats[thing["category_id"]]["name"] for thing in things]
        photos.append(Photo(read_image(folder / "images" / entry["file_name"]), boxes, names))
    return photos


def in_fours(scenes: list[Scene]) -> Scene:
    """Four scenes of one size in a square of them, by rows."""
    n = len(scenes[0].image)
    moves = [(0, 0), (n, 0), (0, n), (n, n)]
    rows = [np.concatenate([scene.image for scene in scenes[k : k + 2]], axis=1) for k in (0, 2)]
    image = np.concatenate(rows)
    boxes = np.concatenate(
        [s.boxes + np.float32(m * 2) for s, m in zip(scenes, moves, strict=True)]
    )
    things = [thing for scene in scenes for thing in scene.things]
    return Scene(image, np.full(image.shape[:2], -1, np.int16), boxes, things)


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return area
