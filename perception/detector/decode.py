"""The one place that turns a detector's logits into labelled boxes.

A phrase is scored inside its own span of tokens, never by comparing strings; a box gets one of the
user's classes, with the runner-up beside it. Synonyms collapse into their class. A negative
competes like a class, and what it wins is dropped at the end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perception.boxes import box_iou, nms
from perception.phrases import NEGATIVE, Phrases
from perception.types import Detections, FloatArray, IntArray

SAME_CLASS_IOU = 0.5
"""Boxes of one class that overlap further than this are one thing, seen twice."""

ANY_CLASS_IOU = 0.7
"""Boxes of two classes that overlap further than this are one thing, and the better label stays."""


def phrase_logits(token_logits: FloatArray, spans: IntArray) -> FloatArray:
    """Token logits Q x T and the length of each phrase's span P -> phrase logits Q x P.

    The spans follow one another; a phrase's logit is the mean over its tokens.
    """
    starts = np.concatenate(([0], np.cumsum(spans)[:-1]))
    sums = np.add.reduceat(token_logits, starts, axis=1)
    return (sums / spans).astype(np.float32)


def decode(
    boxes: FloatArray, logits: FloatArray, phrases: Phrases, *, threshold: float
) -> Detections:
    """Boxes Q x 4 and phrase logits Q x P -> the detections that score at least ``threshold``."""
    sound = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(sound & (_sigmoid(logits.max(axis=1)) >= threshold))
    boxes, scores = boxes[rows], _sigmoid(logits[rows])  # K x 4, K x P
    asked = np.array(phrases.class_ids, np.int64)
    by_class, best_phrase = _collapse(scores, asked, len(phrases.classes))  # K x C each
    negative = scores[:, asked == NEGATIVE].max(axis=1, initial=-1.0)
    # The negative comes first and so has the id -1, which is NEGATIVE; it wins a tie.
    rivals = np.column_stack((negative, by_class))
    class_ids = rivals.argmax(axis=1) - 1
    top = rivals.max(axis=1)
    runner_up, next_best = _runner_up(by_class, class_ids)
    phrase_ids = best_phrase[np.arange(len(rows)), class_ids]  # means nothing for a negative
    found = Detections(boxes, top, class_ids, phrase_ids, runner_up, top - next_best)
    found = found[nms(boxes, top, class_ids, iou_threshold=SAME_CLASS_IOU)]
    found = _one_label_each(found)
    return found[found.class_ids != NEGATIVE]


def _sigmoid(logits: FloatArray) -> FloatArray:
    scores: FloatArray = 0.5 * (1 + np.tanh(0.5 * logits))  # the form that never overflows
    return scores


def _collapse(
    scores: FloatArray, asked: IntArray, classes: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """The best score of each class's phrases and which phrase that is, K x C each."""
    by_class = np.empty((len(scores), classes), np.float32)
    phrase = np.empty((len(scores), classes), np.int64)
    for class_id in range(classes):
        own = np.flatnonzero(asked == class_id)
        best = own[scores[:, own].argmax(axis=1)]
        by_class[:, class_id] = scores[np.arange(len(scores)), best]
        phrase[:, class_id] = best
    return by_class, phrase


def _runner_up(by_class: FloatArray, class_ids: IntArray) -> tuple[IntArray, FloatArray]:
    """The best other class of each box and its score, K each; -1 and 0 where there is none."""
    rows = np.arange(len(by_class))
    if by_class.shape[1] < 2:
        return np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.float32)
    others = by_class.copy()
    others[rows, class_ids] = -1
    second = others.argmax(axis=1).astype(np.int64)
    return second, others[rows, second]


def _one_label_each(found: Detections) -> Detections:
    """Of boxes that are one thing under several labels the best stays, sorted by falling score.

    The class that it displaces becomes its runner-up where that scores higher than the one it had.
    """
    keep = nms(found.boxes, found.scores, iou_threshold=ANY_CLASS_IOU)
    lost = np.setdiff1d(np.arange(len(found)), keep)
    lost = lost[found.class_ids[lost] != NEGATIVE]
    runner_up, margin = found.runner_up.copy(), found.margin.copy()
    if len(lost):
        displaced = box_iou(found.boxes[lost], found.boxes[keep]) > ANY_CLASS_IOU
        winners = keep[displaced.argmax(axis=1)]  # the first, which has the highest score
        for loser, winner in zip(lost, winners, strict=True):
            gap = found.scores[winner] - found.scores[loser]
            if found.class_ids[loser] != found.class_ids[winner] and gap < margin[winner]:
                runner_up[winner], margin[winner] = found.class_ids[loser], gap
    return replace(found, runner_up=runner_up, margin=margin)[keep]
