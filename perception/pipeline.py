"""The product: text and an image in, labelled masks out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.checks import checked_number
from perception.defaults import FLOOR, THRESHOLD
from perception.detectors.decode import best_scores, label
from perception.detectors.protocol import Detector
from perception.detectors.tiled import tile_side, tiled
from perception.instances import Instances
from perception.ops.windows import TileSize
from perception.postprocess.suppress import postprocess_masks
from perception.predictor.predictions import LowResMask, MaskPredictions
from perception.predictor.protocol import Embed, EncodedImage, MaskPredictor
from perception.prompts.grammar import PromptText, parse
from perception.runtime.batching import Stopwatch
from perception.types import BoxMasks, FloatArray, ImageArray, Prompt


def find_masks(
    detector: Detector,
    predictor: MaskPredictor,
    image: ImageArray,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
    tile: TileSize = None,
    drop_nested: bool = False,
    disjoint: bool = False,
    embed: Embed | None = None,
) -> Instances:
    """Return what ``text`` names in an image H x W x 3: the detector's boxes become masks.

    tile: see ``find_boxes``; drop_nested, disjoint: see ``postprocess_masks``; embed: see
    ``MaskPredictor``.
    """
    found, own = _find(detector, image, text, threshold, tile)
    watch, side = Stopwatch(), tile_side(detector, tile)
    encoded = predictor.encode(image, embed=embed, watch=watch)
    predictions = predict_masks(encoded, found.boxes, own=own, tile=side, watch=watch)
    masked = predictions.give_masks_to(found)
    with watch("select"):
        settled, _ = postprocess_masks(masked, drop_nested=drop_nested, disjoint=disjoint)
    return replace(settled, seconds={**found.seconds, **watch.seconds})


def predict_masks(
    encoded: EncodedImage,
    boxes: FloatArray,
    *,
    own: BoxMasks | None = None,
    tile: int = 0,
    watch: Stopwatch | None = None,
) -> MaskPredictions:
    """Return the masks of N boxes, each a prompt of its own: the second stage.

    Args:
        encoded: The image.
        boxes: N x 4 xyxy.
        own: The boxes' masks, where the detector gave them; then the predictor isn't asked.
        tile: Side of the tiles in which a large image is looked at, 0 for none.
        watch: Times the stage "masks".
    """
    if own is not None:
        return MaskPredictions.of_detector(own, watch=watch)
    predicted = encoded.predict_boxes(boxes, tile=tile)
    return MaskPredictions.of(((n, masks[0]) for n, masks in predicted), watch=watch)


def segment_prompt(
    encoded: EncodedImage,
    prompt: Prompt,
    *,
    previous: LowResMask | None = None,
    candidates: bool = False,
    label: str = "object",
    watch: Stopwatch | None = None,
) -> Instances:
    """Return the masks of points and boxes; the predicted quality of a mask is its score.

    Args:
        encoded: The image.
        prompt: Points, which are one prompt, perhaps with the box that they refine; or N boxes,
            each a prompt of its own.
        previous: The mask that the last of the points corrects.
        candidates: Return all candidates of a lone point, best first, not only the best one.
        label: The class of the masks.
        watch: Times the stages "encode", "decode" and "masks", if ``encoded`` has it too.
    """
    if len(prompt.points) or previous is not None:
        found = encoded.predict(prompt, previous)
        several = candidates and prompt.is_ambiguous and previous is None
        chosen = found if several else found[:1]
        predictions = MaskPredictions.of(((0, one) for one in chosen), watch=watch)
    else:
        predictions = predict_masks(encoded, prompt.boxes, watch=watch)
    height, width = encoded.image.shape[:2]
    return Instances(
        image_hw=(height, width),
        classes=(label,),
        boxes=predictions.boxes,
        scores=np.clip(predictions.quality, 0, 1),
        class_ids=np.zeros(len(predictions.rles), np.int64),
        rles=predictions.rles,
        quality=predictions.quality,
        stability=predictions.stability,
        prompt_ids=predictions.prompt_ids,
        image=encoded.image,
        seconds=watch.seconds if watch else {},
    )


def find_boxes(
    detector: Detector,
    image: ImageArray,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
    tile: TileSize = None,
) -> Instances:
    """What ``text`` names in an image H x W x 3, as boxes.

    threshold: the least score, 0..1; tile: the side of the tiles in which a large image is looked
    at, "auto" for what suits the detector, None to look at the whole only.
    """
    return _find(detector, image, text, threshold, tile)[0]


def _find(
    detector: Detector, image: ImageArray, text: PromptText, threshold: float, tile: TileSize
) -> tuple[Instances, BoxMasks | None]:
    """The boxes, and their masks where the detector gives them as well."""
    threshold = checked_number("threshold", threshold, 0, 1)
    watch, phrases = Stopwatch(), parse(text)
    with watch("detect"):
        # What scores less is only looked at to say how near a class was that isn't found.
        (every,) = tiled(detector, tile).candidates([image], phrases, floor=min(threshold, FLOOR))
        found, _ = label(every, phrases, threshold=threshold)
        best = best_scores(every, phrases, found)
    found = found.clipped((image.shape[0], image.shape[1]))
    instances = Instances.detected(found, phrases, image)
    return replace(instances, seconds=watch.seconds, best_scores=best), found.masks
