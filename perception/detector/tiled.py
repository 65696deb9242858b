"""A detector that looks at large pictures in tiles, and once at the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.boxes import clip_boxes
from perception.detector.decode import SAME_CLASS_IOU, worth_keeping
from perception.detector.protocol import Detector
from perception.detector.seams import REACH, join
from perception.phrases import Phrases
from perception.tiles import LEAST_SIDE, Tile, TileSize, check_tile, tiles
from perception.types import Candidates, Detections, ImageArray

USUAL_SIDE = 1024
"""Of tiles for a detector that doesn't say how large its input is."""

_TILES_AT_ONCE = 4


def tile_side(detector: Detector, tile: TileSize) -> int:
    """The side of the tiles for a detector; 0 for no tiles. Raises PromptError for no such size.

    A detector's ``side``, where it has one, is the longest side that it sees without scaling down.
    """
    check_tile(tile)
    if tile == "auto":
        return max(LEAST_SIDE, int(getattr(detector, "side", USUAL_SIDE)))
    return tile or 0


def tiled(detector: Detector, tile: TileSize) -> Detector:
    """The detector, looking at large pictures in tiles if that is asked for."""
    side = tile_side(detector, tile)
    return TiledDetector(detector, side) if side else detector


class TiledDetector(Detector):
    """A ``Detector`` over another one, for pictures with more pixels than that one sees.

    Each tile is asked, then the whole picture, for what is too large for a tile; what the tiles cut
    is joined. A picture that fits into one tile is asked as it is. Boxes of several tiles depend on
    all phrases, as those of one class are joined. side: of the tiles, in pixels.
    """

    phrases_independent = False

    def __init__(self, detector: Detector, side: int) -> None:
        self.name, self.side, self._detector = detector.name, side, detector

    def detect(
        self, images: Sequence[ImageArray], phrases: Phrases, *, threshold: float = 0.3
    ) -> list[Detections]:
        """The boxes in each RGB picture H x W x 3 for the phrases; see ``Detector``."""
        if all(self._fits(image) for image in images):
            return self._detector.detect(images, phrases, threshold=threshold)
        return super().detect(images, phrases, threshold=threshold)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB picture H x W x 3 that reach ``floor``; see ``Detector``."""
        small = [image for image in images if self._fits(image)]
        answers = iter(self._detector.candidates(small, phrases, floor=floor) if small else [])
        return [
            next(answers) if self._fits(image) else self._tiled(image, phrases, floor)
            for image in images
        ]

    def _fits(self, image: ImageArray) -> bool:
        return bool(max(image.shape[:2]) <= self.side)

    def _tiled(self, image: ImageArray, phrases: Phrases, floor: float) -> Candidates:
        height, width = image.shape[:2]
        places = [*tiles((height, width), self.side), Tile(0, 0, width, height)]
        found: list[Candidates] = []
        for start in range(0, len(places) - 1, _TILES_AT_ONCE):
            found += self._ask(image, places[:-1][start : start + _TILES_AT_ONCE], phrases, floor)
        found += self._ask(image, places[-1:], phrases, floor)
        views = np.repeat(np.arange(len(places)), [len(one) for one in found])
        every = Candidates(
            np.concatenate([one.boxes for one in found]),
            np.concatenate([one.scores for one in found]),
            np.arange(len(views)),
        )
        joined = join(every, views, places, phrases)
        return joined[joined.scores.max(axis=1, initial=0) >= floor]

    def _ask(
        self, image: ImageArray, places: Sequence[Tile], phrases: Phrases, floor: float
    ) -> list[Candidates]:
        """What some parts of a picture show, in its pixels, without repetitions in each."""
        crops = [np.ascontiguousarray(place.cut_from(image)) for place in places]
        found = self._detector.candidates(crops, phrases, floor=floor * REACH)
        return [_placed(one, place, phrases) for one, place in zip(found, places, strict=True)]


def _placed(found: Candidates, place: Tile, phrases: Phrases) -> Candidates:
    """A tile's candidates in the picture's pixels, without those that repeat a better one."""
    boxes = clip_boxes(found.boxes, (place.y1 - place.y0, place.x1 - place.x0))
    corner = np.array([place.x0, place.y0] * 2, np.float32)
    found = Candidates(boxes + corner, found.scores, found.queries)
    found = found[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    return found[worth_keeping(found, phrases, same_class_iou=SAME_CLASS_IOU)]
