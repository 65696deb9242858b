"""The product: text and a picture in, labelled masks out."""

from __future__ import annotations

from dataclasses import replace

from perception.answers import with_masks
from perception.close_ups import answer_boxes
from perception.defaults import FLOOR, THRESHOLD
from perception.detector.decode import best_scores, label
from perception.detector.protocol import Detector
from perception.detector.tiled import tile_side, tiled
from perception.errors import PromptError
from perception.instances import Instances
from perception.phrases import PromptText, parse
from perception.segmenter.protocol import Segmenter
from perception.settling import settle
from perception.stopwatch import Stopwatch
from perception.tiles import TileSize
from perception.types import BoxMasks, ImageArray


def find_masks(
    detector: Detector,
    segmenter: Segmenter,
    image: ImageArray,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
    tile: TileSize = None,
    drop_nested: bool = False,
    disjoint: bool = False,
) -> Instances:
    """What ``text`` names in a picture H x W x 3: the detector's boxes become masks.

    tile: see ``find_boxes``; drop_nested, disjoint: see ``settle``.
    """
    found, own = _find(detector, image, text, threshold, tile)
    watch, side = Stopwatch(), tile_side(detector, tile)
    answers = answer_boxes(segmenter, image, found.boxes, own=own, side=side, watch=watch)
    masked = with_masks(found, answers)
    with watch("select"):
        settled, _ = settle(masked, drop_nested=drop_nested, disjoint=disjoint)
    return replace(settled, seconds={**found.seconds, **watch.seconds})


def find_boxes(
    detector: Detector,
    image: ImageArray,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
    tile: TileSize = None,
) -> Instances:
    """What ``text`` names in a picture H x W x 3, as boxes.

    threshold: the least score, 0..1; tile: the side of the tiles in which a large picture is looked
    at, "auto" for what suits the detector, None to look at the whole only.
    """
    return _find(detector, image, text, threshold, tile)[0]


def _find(
    detector: Detector, image: ImageArray, text: PromptText, threshold: float, tile: TileSize
) -> tuple[Instances, BoxMasks | None]:
    """The boxes, and their masks where the detector gives them as well."""
    if not 0 <= threshold <= 1:
        raise PromptError(f"a threshold lies between 0 and 1, got {threshold:g}")
    watch, phrases = Stopwatch(), parse(text)
    with watch("detect"):
        # What scores less is only looked at to say how near a class was that isn't found.
        (every,) = tiled(detector, tile).candidates([image], phrases, floor=min(threshold, FLOOR))
        found, _ = label(every, phrases, threshold=threshold)
        best = best_scores(every, phrases, found)
    found = found.clipped((image.shape[0], image.shape[1]))
    instances = Instances.detected(found, phrases, image)
    return replace(instances, seconds=watch.seconds, best_scores=best), found.masks
