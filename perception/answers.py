"""A segmenter's answers to prompts on one picture, as compact masks.

However many prompts there are, only a few are decoded at once, and one full-size mask exists at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from perception.frame import Frame
from perception.instances import Instances
from perception.log_odds import sigmoid
from perception.look import Look
from perception.masks import consensus, logits_to_rles, rle_area, rle_to_box, stability_score
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.tiles import Tile
from perception.types import (
    BoxMasks,
    FloatArray,
    ImageArray,
    IntArray,
    MaskCandidates,
    Prompt,
    Rle,
)

_PROMPTS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Answers:
    """N masks: rles; boxes: N x 4, tight; quality, stability: N; prompt_ids: N, which prompt.

    consensus: N, of the four masks that the model had for the prompt (``masks.consensus``). Quality
    and consensus are the network's own, masks and stability those of ``Look.mend``. A prompt whose
    mask is empty has no answer here.
    """

    rles: tuple[Rle, ...]
    boxes: FloatArray
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray
    prompt_ids: IntArray


def answer(
    segmenter: Segmenter,
    image: ImageArray,
    prompt: Prompt,
    *,
    view: Tile | None = None,
    candidates: bool = False,
    watch: Stopwatch | None = None,
) -> Answers:
    """Encodes a picture H x W x 3 and decodes all prompts; without prompts it does neither.

    view: the part of the picture that is looked at, whose pixels the answers are in; the prompts
    are in those of the picture. candidates: keep all three masks of an ambiguous prompt, best
    first, not only the best one. Times the stages "encode" and "decode".
    """
    watch = watch or Stopwatch()
    parts: list[_Part] = []
    if len(prompt):
        with watch("encode"):
            look = Look(segmenter, image, view)
        with watch("decode"):
            for first, decoded in _decode(look, prompt):
                parts += _rows(look, decoded, first, candidates=candidates)
    return _gathered(parts)


def answer_of(decoded: MaskCandidates, index: int, logits: FloatArray) -> Answers:
    """One of the four masks for a single prompt; an empty one is no answer.

    logits: h x w, the mask as it is shown.
    """
    agreed = consensus(decoded.frame.logits_in_image(decoded.logits))
    quality = decoded.quality[0, [index]]
    return _gathered(list(_parts(logits[None], quality, decoded.frame, 0, float(agreed[0]))))


def own_answers(masks: BoxMasks, *, watch: Stopwatch | None = None) -> Answers:
    """The masks that a detector gave with its N boxes, as if the boxes had been prompts.

    Their quality is the mean probability inside: no IoU is predicted for them. There is one mask
    for each, so that their consensus is 1. Times the stage "masks".
    """
    watch = watch or Stopwatch()
    with watch("masks"):
        seen = masks.frame.logits_in_image(masks.logits)
        parts = [
            _Part(rle, quality, float(stability), 1.0, n)
            for n, (rle, quality, stability) in enumerate(
                zip(
                    logits_to_rles(masks.logits, masks.frame),
                    map(_mean_inside, seen),
                    stability_score(seen),
                    strict=True,
                )
            )
        ]
    return _gathered(parts)


def _mean_inside(logits: FloatArray) -> float:
    """The mean probability of the cells h x w that are in the mask; 0 where none is."""
    inside = logits[logits > 0]
    return float(sigmoid(inside).mean(dtype=np.float64)) if len(inside) else 0.0


def _gathered(parts: Sequence[_Part]) -> Answers:
    """The answers, without those that are empty."""
    parts = [part for part in parts if rle_area(part.rle)]
    boxes = [rle_to_box(part.rle) for part in parts]
    return Answers(
        rles=tuple(part.rle for part in parts),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        quality=np.array([part.quality for part in parts], np.float32),
        stability=np.array([part.stability for part in parts], np.float32),
        consensus=np.array([part.consensus for part in parts], np.float32),
        prompt_ids=np.array([part.prompt for part in parts], np.int64),
    )


def with_masks(found: Instances, answers: Answers) -> Instances:
    """N boxes that were prompts, as the instances that have a mask; its tight box is theirs."""
    return replace(
        found[answers.prompt_ids],
        boxes=answers.boxes,
        rles=answers.rles,
        quality=answers.quality,
        stability=answers.stability,
    )


class _Part(NamedTuple):
    rle: Rle
    quality: float
    stability: float
    consensus: float
    prompt: int


def _decode(look: Look, prompt: Prompt) -> Iterator[tuple[int, MaskCandidates]]:
    """Decodes a few prompts at a time, with the number of the first one."""
    if len(prompt.points):
        yield 0, look.decode(prompt)
        return
    for first in range(0, len(prompt), _PROMPTS_AT_ONCE):
        rows = np.arange(first, min(first + _PROMPTS_AT_ONCE, len(prompt)))
        count = len(rows)
        # Products of one row and of several round differently. On a CPU networks of this size
        # decode two boxes at a time: an even number keeps a box's mask the same to the last bit,
        # however many others are asked with it.
        if count % 2 and not look.is_near_sighted:
            rows = np.append(rows, rows[-1:])
        masks = None if prompt.mask_logits is None else prompt.mask_logits[rows]
        decoded = look.decode(Prompt(boxes=prompt.boxes[rows], mask_logits=masks))
        if len(decoded) > count:
            logits, quality = decoded.logits[:count], decoded.quality[:count]
            decoded = replace(decoded, logits=logits, quality=quality)
        yield first, decoded


def _rows(look: Look, decoded: MaskCandidates, first: int, *, candidates: bool) -> Iterator[_Part]:
    """What is to be kept of each prompt; first: the number of the first one."""
    best = decoded.best()
    agreed = consensus(decoded.frame.logits_in_image(decoded.logits))
    for n in range(len(decoded)):
        index = np.array([best[n]])
        if candidates and decoded.ambiguous:
            index = 1 + np.argsort(-decoded.quality[n, 1:], kind="stable")
        logits, quality = look.mend(decoded.logits[n, index]), decoded.quality[n, index]
        yield from _parts(logits, quality, decoded.frame, first + n, float(agreed[n]))


def _parts(
    logits: FloatArray, quality: FloatArray, frame: Frame, prompt: int, agreed: float
) -> Iterator[_Part]:
    """M masks M x h x w of one prompt; prompt: its number, agreed: the consensus of its four."""
    rles = logits_to_rles(logits, frame)
    stability = stability_score(frame.logits_in_image(logits))
    for rle, predicted, stable in zip(rles, quality, stability, strict=True):
        yield _Part(rle, float(predicted), float(stable), agreed, prompt)
