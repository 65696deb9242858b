"""Tiled detection of large images, and merging the boxes that tile borders cut.

A piece that ends at an inner edge of its tile was cut there. It is joined with the piece that goes
on where it ends, across as many tiles as it takes. A piece whose rest was never found gives way to
a box that shows more of the same thing, in another tile or in the whole image.

Boxes of a better score decide first, and only those that score at least half as much have a say in
what becomes of them: as pieces of a thing, and as things that show more. So a box comes out the
same at every threshold, if what was asked for reaches down to a quarter of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.detectors.decode import SAME_CLASS_IOU, worth_keeping
from perception.detectors.protocol import Detector
from perception.ops.boxes import clip_boxes
from perception.ops.windows import MIN_SIDE, Tile, TileSize, check_tile, tiles
from perception.prompts.grammar import NEGATIVE, Phrases
from perception.types import BoolArray, Candidates, Detections, FloatArray, ImageArray, IntArray

USUAL_SIDE = 1024
"""Of tiles for a detector that doesn't say how large its input is."""

_TILES_AT_ONCE = 4


def tile_side(detector: Detector, tile: TileSize) -> int:
    """The side of the tiles for a detector; 0 for no tiles. Raises PromptError for no such size.

    A detector's ``side``, where it has one, is the longest side that it sees without scaling down.
    """
    check_tile(tile)
    if tile == "auto":
        return max(MIN_SIDE, int(getattr(detector, "side", USUAL_SIDE)))
    return tile or 0


def tiled(detector: Detector, tile: TileSize) -> Detector:
    """The detector, looking at large images in tiles if that is asked for."""
    side = tile_side(detector, tile)
    return TiledDetector(detector, side) if side else detector


class TiledDetector(Detector):
    """A ``Detector`` over another one, for images with more pixels than that one sees.

    Each tile is asked, then the whole image, for what is too large for a tile; what the tiles cut
    is joined. An image that fits into one tile is asked as it is. Boxes of several tiles depend on
    all phrases, as those of one class are joined. side: of the tiles, in pixels.
    """

    phrases_independent = False

    def __init__(self, detector: Detector, side: int) -> None:
        self.name, self.side, self._detector = detector.name, side, detector

    def detect(
        self, images: Sequence[ImageArray], phrases: Phrases, *, threshold: float = 0.3
    ) -> list[Detections]:
        """The boxes in each RGB image H x W x 3 for the phrases; see ``Detector``."""
        if all(self._fits(image) for image in images):
            return self._detector.detect(images, phrases, threshold=threshold)
        return super().detect(images, phrases, threshold=threshold)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
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
        """What some parts of an image show, in its pixels, without repetitions in each."""
        crops = [np.ascontiguousarray(place.cut_from(image)) for place in places]
        found = self._detector.candidates(crops, phrases, floor=floor * REACH)
        return [_placed(one, place, phrases) for one, place in zip(found, places, strict=True)]


def _placed(found: Candidates, place: Tile, phrases: Phrases) -> Candidates:
    """A tile's candidates in the image's pixels, without those that repeat a better one."""
    boxes = clip_boxes(found.boxes, (place.y1 - place.y0, place.x1 - place.x0))
    corner = np.array([place.x0, place.y0] * 2, np.float32)
    found = Candidates(boxes + corner, found.scores, found.queries)
    found = found[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    return found[worth_keeping(found, phrases, same_class_iou=SAME_CLASS_IOU)]


_LEAST_SHARE = 0.5
"""How much of the better one's score the other has at least, of two boxes that become one."""

REACH = _LEAST_SHARE * _LEAST_SHARE
"""How far below a threshold, as a part of it, boxes have a say in what becomes of those above."""

_SAME_STRETCH = 0.5
"""How much two pieces of one thing have in common: of the shorter one's stretch along the seam, and
of the width of what both tiles show."""

_HELD = 0.8
"""How much of a piece lies in the box that shows more of the same thing."""

_NEAR = 1 / 64
"""How near to its tile's edge a piece ends that was cut there, as a part of the tile's side."""

_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)


@dataclass(frozen=True, eq=False)
class Pieces:
    """What K views of one image show: tiles, and the image itself.

    boxes: N x 4 xyxy in the image; scores: N, of the best phrase; owners: N, what each is a piece
    of: a class, or a negative phrase; views: N, which view; tiles: N x 4, that view in the image;
    cut: N x 4, whether the box ends at the left, top, right and bottom edge of its view, and that
    isn't the image's own.
    """

    boxes: FloatArray
    scores: FloatArray
    owners: IntArray
    views: IntArray
    tiles: FloatArray
    cut: BoolArray

    @classmethod
    def of(
        cls, found: Candidates, views: IntArray, places: Sequence[Tile], phrases: Phrases
    ) -> Pieces:
        """Of candidates with boxes in the image; places: of the views, the last the image."""
        tiles = np.array(places, np.float32)[views]
        at_edge = np.abs(found.boxes - tiles) <= _near(tiles)
        best = found.scores.argmax(axis=1)
        class_ids = np.array(phrases.class_ids, np.int64)
        return cls(
            boxes=found.boxes,
            scores=found.scores.max(axis=1),
            owners=np.where(class_ids == NEGATIVE, -1 - np.arange(len(phrases)), class_ids)[best],
            views=views,
            tiles=tiles,
            cut=at_edge & (tiles != np.array(places[-1], np.float32)),
        )


def _near(tiles: FloatArray) -> FloatArray:
    """How many pixels from the edges of N tiles, N x 4, are near, N x 1."""
    sides = (tiles[:, 2:] - tiles[:, :2]).max(axis=1, keepdims=True)
    near: FloatArray = np.maximum(1, _NEAR * sides)
    return near


@dataclass
class _Thing:
    """Pieces that are one thing: the best of them, the box around all, its score."""

    best: int
    members: list[int]
    box: FloatArray
    score: float
    is_open: bool


def join(
    found: Candidates, views: IntArray, places: Sequence[Tile], phrases: Phrases
) -> Candidates:
    """The candidates of several views as those of one image; a thing has its best piece's scores.

    found: with boxes in the image, those of a view without repetitions; views: of each, which of
    ``places`` it is of: the tiles, then the image.
    """
    if not len(found):
        return found
    pieces = Pieces.of(found, views, places, phrases)
    things = _settle_open(_across_seams(pieces), pieces)
    boxes = np.array([thing.box for thing in things], np.float32)
    scores = found.scores[[thing.best for thing in things]]
    return Candidates(boxes, scores, np.arange(len(things)))


def _across_seams(pieces: Pieces) -> list[_Thing]:
    """All pieces as things, by falling score."""
    free = np.ones(len(pieces.boxes), np.bool_)
    cut = np.asarray(pieces.cut.any(axis=1))
    things = []
    for seed in np.argsort(-pieces.scores, kind="stable").tolist():
        if not free[seed]:
            continue
        free[seed] = False
        members = [seed]
        if cut[seed]:
            own = cut & (pieces.owners == pieces.owners[seed])
            own &= pieces.scores >= _LEAST_SHARE * pieces.scores[seed]
            members = _grown(seed, pieces, own, free)
        corners = pieces.boxes[members]
        box = np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])
        is_open = _is_open(members, pieces, box)
        things.append(_Thing(seed, members, box, float(pieces.scores[seed]), is_open))
    return things


def _grown(seed: int, pieces: Pieces, own: BoolArray, free: BoolArray) -> list[int]:
    """The pieces that go on where others of the same thing end; takes them from ``free``."""
    members = [seed]
    used = np.zeros_like(pieces.cut)
    for one in members:  # It grows meanwhile.
        for side in np.flatnonzero(pieces.cut[one]).tolist():
            if used[one, side]:
                continue
            other = _next_piece(one, side, pieces, own & free)
            if other is not None:
                members.append(other)
                free[other] = False
                used[one, side] = used[other, (side + 2) % 4] = True
    return members


def _next_piece(one: int, side: int, pieces: Pieces, among: BoolArray) -> int | None:
    """The piece that goes on where another one was cut on this side: the one most in line."""
    tile, box = pieces.tiles[one], pieces.boxes[one]
    along, across = side % 2, 1 - side % 2
    onward = 1 if side in (_RIGHT, _BOTTOM) else -1
    farther = onward * (pieces.tiles[:, side] - tile[side]) > 0
    beside = _shared(pieces.tiles, tile, across) == tile[across + 2] - tile[across]
    rows = np.flatnonzero(among & pieces.cut[:, (side + 2) % 4] & farther & beside)
    # Each shows all that the thing has in the part that both tiles show.
    zone = _shared(pieces.tiles[rows], tile, along)
    rows = rows[(zone > 0) & (_shared(pieces.boxes[rows], box, along) >= _SAME_STRETCH * zone)]
    shared = _shared(pieces.boxes[rows], box, across)
    lengths = pieces.boxes[rows, across + 2] - pieces.boxes[rows, across]
    length = box[across + 2] - box[across]
    in_line = np.where(
        shared >= _SAME_STRETCH * np.minimum(lengths, length),
        shared / (lengths + length - shared),
        -1,
    )
    best = int(in_line.argmax()) if len(rows) else -1
    return int(rows[best]) if best >= 0 and in_line[best] > 0 else None


def _shared(boxes: FloatArray, box: FloatArray, axis: int) -> FloatArray:
    """How far N boxes, N x 4, and one overlap along an axis, N; below 0 for a gap."""
    ends = np.minimum(boxes[:, axis + 2], box[axis + 2])
    shared: FloatArray = ends - np.maximum(boxes[:, axis], box[axis])
    return shared


def _is_open(members: Sequence[int], pieces: Pieces, box: FloatArray) -> bool:
    """Whether a thing with this box ends where its pieces were cut, and none shows that it ends."""
    reach = np.abs(pieces.boxes[members] - box) <= _near(pieces.tiles[members])
    cut = pieces.cut[members]
    return bool(((reach & cut).any(axis=0) & ~(reach & ~cut).any(axis=0)).any())


def _settle_open(things: list[_Thing], pieces: Pieces) -> list[_Thing]:
    """The things without those that are cut, where there is one that shows more of them."""
    boxes = np.array([thing.box for thing in things])
    owners = pieces.owners[[thing.best for thing in things]]
    closed = np.array([not thing.is_open for thing in things])
    views = np.array([pieces.views[t.best] if len(t.members) == 1 else -1 for t in things])
    scores = np.array([thing.score for thing in things])
    stays = np.ones(len(things), np.bool_)
    for n, thing in enumerate(things):
        if not thing.is_open:
            continue
        more = stays & (owners == owners[n]) & ((views != views[n]) | (views == -1))
        more[n] = False
        rows = np.flatnonzero(more)
        rows = rows[_held(thing.box, boxes[rows]) >= _HELD]
        better = rows[scores[rows] >= thing.score]
        fainter = rows[closed[rows] & (scores[rows] >= _LEAST_SHARE * thing.score)]
        if len(better):
            stays[n] = False
        elif len(fainter):
            stays[n] = False
            heir = fainter[scores[fainter].argmax()]
            scores[heir] = thing.score
            things[heir].best, things[heir].score = thing.best, thing.score
    return [thing for thing, stay in zip(things, stays.tolist(), strict=True) if stay]


def _held(box: FloatArray, others: FloatArray) -> FloatArray:
    """How much of a box, 4, lies in each of M others, M in 0..1."""
    x0, y0 = np.maximum(box[:2], others[:, :2]).T
    x1, y1 = np.minimum(box[2:], others[:, 2:]).T
    area = (box[2] - box[0]) * (box[3] - box[1])  # Empty boxes are never pieces.
    shares: FloatArray = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0) / area
    return shares
