"""The product: text and a picture in, labelled masks out."""

from __future__ import annotations

from dataclasses import replace

from perception.answers import answer
from perception.defaults import THRESHOLD
from perception.detector.protocol import Detector
from perception.errors import PromptError
from perception.instances import Instances
from perception.phrases import PromptText, parse
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.types import ImageArray, Prompt


def find_masks(
    detector: Detector,
    segmenter: Segmenter,
    image: ImageArray,
    text: PromptText,
    *,
    threshold: float = THRESHOLD,
) -> Instances:
    """What ``text`` names in a picture H x W x 3: the detector's boxes become masks."""
    found = find_boxes(detector, image, text, threshold=threshold)
    watch = Stopwatch()
    answers = answer(segmenter, image, Prompt(boxes=found.boxes), watch=watch)
    return replace(
        found[answers.prompt_ids],
        boxes=answers.boxes,
        rles=answers.rles,
        quality=answers.quality,
        stability=answers.stability,
        seconds={**found.seconds, **watch.seconds},
    )


def find_boxes(
    detector: Detector, image: ImageArray, text: PromptText, *, threshold: float = THRESHOLD
) -> Instances:
    """What ``text`` names in a picture H x W x 3, as boxes. threshold: the least score, 0..1."""
    if not 0 <= threshold <= 1:
        raise PromptError(f"a threshold lies between 0 and 1, got {threshold:g}")
    watch, phrases = Stopwatch(), parse(text)
    with watch("detect"):
        (found,) = detector.detect([image], phrases, threshold=threshold)
    found = found.clipped(image.shape[:2])
    return Instances(
        image_hw=image.shape[:2],
        classes=phrases.classes,
        boxes=found.boxes,
        scores=found.scores,
        class_ids=found.class_ids,
        runner_up=found.runner_up,
        margin=found.margin,
        prompt_ids=found.phrase_ids,
        image=image,
        seconds=watch.seconds,
    )
