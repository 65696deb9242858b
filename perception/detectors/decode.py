"""The one place that turns a detector's logits into labelled boxes.

First candidates, with the score of every phrase; then labels. Whoever keeps the candidates can
label them again, at another threshold, without the detector.

A phrase is scored inside its own span of tokens, never by comparing strings; a box gets one of the
user's classes, with the runner-up beside it. Synonyms collapse into their class. A negative
competes like a class, and what it wins is dropped at the end.

Of a phrase's several tokens nano, which is trained so, takes the mean logit. The published
grounding models take the mean probability, as their authors' own evaluations do: it tells "red car"
from "blue car", where the best token alone, "car", doesn't. For one token it is all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perception.ops.boxes import box_iou, nms
from perception.ops.masks import sigmoid
from perception.prompts.grammar import NEGATIVE, Phrases
from perception.types import BoolArray, Candidates, Detections, FloatArray, IntArray

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


def span_scores(token_logits: FloatArray, spans: IntArray) -> FloatArray:
    """Token logits Q x T and half-open spans P x 2 -> scores Q x P in 0..1.

    A phrase's score is the mean probability of its own tokens. What lies between the spans counts
    for nothing.
    """
    starts, ends = spans.T
    # Every second sum is a phrase's; the others are of what lies between two phrases. A column of
    # zeros stands for the end of a last span, which is no place to begin a sum at.
    edges = np.stack((starts, ends), axis=1).reshape(-1)
    probabilities = np.pad(sigmoid(token_logits), ((0, 0), (0, 1)))
    sums = np.add.reduceat(probabilities, edges, axis=1)[:, ::2]
    scores: FloatArray = (sums / (ends - starts)).astype(np.float32)
    return scores


def decode(
    boxes: FloatArray, logits: FloatArray, phrases: Phrases, *, threshold: float
) -> Detections:
    """Boxes Q x 4 and phrase logits Q x P -> the detections that score at least ``threshold``."""
    found, _ = label(candidates(boxes, logits, floor=threshold), phrases, threshold=threshold)
    return found


def candidates(boxes: FloatArray, logits: FloatArray, *, floor: float) -> Candidates:
    """The boxes, of Q x 4, to which some phrase, of logits Q x P, gives at least ``floor``."""
    sound = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    queries = np.flatnonzero(sound & (sigmoid(logits.max(axis=1)) >= floor))
    return Candidates(boxes[queries], sigmoid(logits[queries]), queries)


def scored(boxes: FloatArray, scores: FloatArray, *, floor: float) -> Candidates:
    """The boxes, of Q x 4, to which some phrase, of scores Q x P in 0..1, gives ``floor``."""
    sound = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    queries = np.flatnonzero(sound & (scores.max(axis=1) >= floor))
    return Candidates(boxes[queries], scores[queries], queries)


def join_passes(
    found: Sequence[Candidates], phrases: Sequence[IntArray], *, queries: int
) -> Candidates:
    """One image's candidates from several texts, each with its part of the phrases, as one.

    phrases: which phrases each text holds, together 0 to P - 1; queries: how many places each has.
    Of a phrase that wasn't in a box's text nothing is known: its score there is 0.
    """
    count = sum(len(own) for own in phrases)
    scores = np.zeros((sum(map(len, found)), count), np.float32)
    row = 0
    for part, own in zip(found, phrases, strict=True):
        scores[row : row + len(part), own] = part.scores
        row += len(part)
    return Candidates(
        np.concatenate([part.boxes for part in found]),
        scores,
        np.concatenate([part.queries + k * queries for k, part in enumerate(found)]),
    )


def label(
    found: Candidates,
    phrases: Phrases,
    *,
    threshold: float,
    same_class_iou: float = SAME_CLASS_IOU,
    any_class_iou: float = ANY_CLASS_IOU,
) -> tuple[Detections, IntArray]:
    """The detections that score at least ``threshold``, and which of K candidates they are."""
    rows = np.flatnonzero(found.scores.max(axis=1, initial=-1.0) >= threshold)
    labelled = _best_class(found[rows], phrases)
    kept = nms(labelled.boxes, labelled.scores, labelled.class_ids, iou_threshold=same_class_iou)
    labelled, rows = labelled[kept], rows[kept]
    labelled, kept = _one_label_each(labelled, any_class_iou)
    reported = labelled.class_ids != NEGATIVE
    return labelled[reported], rows[kept][reported]


def best_scores(found: Candidates, phrases: Phrases, reported: Detections) -> dict[str, float]:
    """The highest score that each class could be reported with, at the lowest threshold there is.

    reported: what ``label`` made of the candidates at a threshold; only where that lacks a class
    are they labelled again. Classes that win no candidate are left out.
    """
    if set(reported.class_ids.tolist()) != set(range(len(phrases.classes))):
        reported, _ = label(found, phrases, threshold=0.0)
    best: dict[str, float] = {}
    for class_id, score in zip(reported.class_ids, reported.scores, strict=True):
        best.setdefault(phrases.classes[class_id], float(score))  # The best come first.
    return best


def label_all(
    found: Candidates,
    phrases: Phrases,
    *,
    threshold: float,
    same_class_iou: float = SAME_CLASS_IOU,
) -> tuple[Detections, IntArray]:
    """Every label that scores at least ``threshold``, and which of K candidates each is of.

    As published evaluations count: a region may have several labels. One that a negative beats is
    none; of boxes of one label that overlap further than ``same_class_iou`` the best stays.
    """
    by_class, best_phrase, negative = _by_class(found, phrases)
    rows, class_ids = np.nonzero((by_class >= threshold) & (by_class > negative[:, None]))
    scores = by_class[rows, class_ids]
    runner_up, next_best = _runner_up(by_class[rows], class_ids)
    detections = Detections(
        found.boxes[rows],
        scores,
        class_ids,
        best_phrase[rows, class_ids],
        runner_up,
        scores - next_best,
        None if found.masks is None else found.masks[rows],
    )
    kept = nms(detections.boxes, scores, class_ids, iou_threshold=same_class_iou)
    return detections[kept], rows[kept]


@dataclass(frozen=True)
class Labelling:
    """How candidates become the labelled boxes that a result shows.

    threshold: the least score; same_class_iou: of boxes of one class that overlap further the best
    stays; all_labels: every label that scores high enough counts, as in ``label_all``. A higher
    threshold never shows a candidate that a lower one doesn't.
    """

    threshold: float
    same_class_iou: float = SAME_CLASS_IOU
    all_labels: bool = False

    def label(self, found: Candidates, phrases: Phrases) -> tuple[Detections, IntArray]:
        """The labelled boxes, and which of K candidates each is of."""
        iou = self.same_class_iou
        if self.all_labels:
            return label_all(found, phrases, threshold=self.threshold, same_class_iou=iou)
        return label(
            found,
            phrases,
            threshold=self.threshold,
            same_class_iou=iou,
            any_class_iou=max(iou, ANY_CLASS_IOU),
        )


def worth_keeping(found: Candidates, phrases: Phrases, *, same_class_iou: float) -> IntArray:
    """Which of K candidates to keep so that ``label`` gives the same for them as for all.

    Those that ``same_class_iou`` leaves, for labelling with less suppression than usual, and those
    that the usual one leaves: of a chain of boxes that overlap, it can keep one that the other
    drops. Greedy suppression decides by what it kept before, so the rest changes nothing.
    """
    labelled = _best_class(found, phrases)
    kept = [
        nms(labelled.boxes, labelled.scores, labelled.class_ids, iou_threshold=iou)
        for iou in (same_class_iou, SAME_CLASS_IOU)
    ]
    rows: IntArray = np.unique(np.concatenate(kept))
    return rows


def best_two(found: Candidates, phrases: Phrases) -> BoolArray:
    """Which scores, K x P, are those of each candidate's best two classes, or of a negative."""
    asked = np.array(phrases.class_ids, np.int64)
    by_class, best_phrase = _collapse(found.scores, asked, len(phrases.classes))
    top = np.argsort(-by_class, axis=1, kind="stable")[:, :2]
    chosen = np.zeros(found.scores.shape, np.bool_)
    np.put_along_axis(chosen, np.take_along_axis(best_phrase, top, axis=1), True, axis=1)
    chosen[:, asked == NEGATIVE] = True
    return chosen


def _best_class(found: Candidates, phrases: Phrases) -> Detections:
    """Each of K candidates with the class that scores highest, which may be ``NEGATIVE``."""
    by_class, best_phrase, negative = _by_class(found, phrases)
    # The negative comes first and so has the id -1, which is NEGATIVE; it wins a tie.
    rivals = np.column_stack((negative, by_class))
    class_ids = rivals.argmax(axis=1) - 1
    top = rivals.max(axis=1)
    runner_up, next_best = _runner_up(by_class, class_ids)
    # Which phrase means nothing for a negative.
    phrase_ids = best_phrase[np.arange(len(found)), class_ids]
    margin = top - next_best
    return Detections(found.boxes, top, class_ids, phrase_ids, runner_up, margin, found.masks)


def _by_class(
    found: Candidates, phrases: Phrases
) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """See ``_collapse``, and the best score of each candidate's negatives, K; -1: there is none."""
    asked = np.array(phrases.class_ids, np.int64)
    by_class, best_phrase = _collapse(found.scores, asked, len(phrases.classes))
    return by_class, best_phrase, found.scores[:, asked == NEGATIVE].max(axis=1, initial=-1.0)


def _collapse(
    scores: FloatArray, asked: IntArray, classes: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """The best score of each class's phrases and which phrase that is, K x C each."""
    if np.array_equal(np.sort(asked[asked != NEGATIVE]), np.arange(classes)):
        only = np.argsort(asked, kind="stable")[-classes:]  # One phrase each, as mostly.
        return scores[:, only], np.tile(only, (len(scores), 1))
    by_class = np.empty((len(scores), classes), np.float32)
    phrase = np.empty((len(scores), classes), np.int64)
    order = np.argsort(asked, kind="stable")
    starts = np.searchsorted(asked[order], np.arange(classes + 1))
    for class_id in range(classes):
        own = order[starts[class_id] : starts[class_id + 1]]
        best = own[scores[:, own].argmax(axis=1)]
        by_class[:, class_id] = scores[np.arange(len(scores)), best]
        phrase[:, class_id] = best
    return by_class, phrase


def _runner_up(by_class: FloatArray, class_ids: IntArray) -> tuple[IntArray, FloatArray]:
    """The best other class of each box and its score, K each; -1 and 0 where there is none.

    A score of 0 is one that was not kept.
    """
    rows = np.arange(len(by_class))
    if by_class.shape[1] < 2:
        return np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.float32)
    others = by_class.copy()
    others[rows, class_ids] = -1
    second = others.argmax(axis=1).astype(np.int64)
    score = others[rows, second]
    return np.where(score > 0, second, -1), score


def _one_label_each(found: Detections, iou: float) -> tuple[Detections, IntArray]:
    """Of boxes that are one thing under several labels the best stays, sorted by falling score.

    Also returns which they are. The class that it displaces becomes its runner-up where that scores
    higher than the one it had.
    """
    keep = nms(found.boxes, found.scores, iou_threshold=iou)
    lost = np.setdiff1d(np.arange(len(found)), keep)
    lost = lost[found.class_ids[lost] != NEGATIVE]
    runner_up, margin = found.runner_up.copy(), found.margin.copy()
    if len(lost):
        displaced = box_iou(found.boxes[lost], found.boxes[keep]) > iou
        winners = keep[displaced.argmax(axis=1)]  # the first, which has the highest score
        for loser, winner in zip(lost, winners, strict=True):
            gap = found.scores[winner] - found.scores[loser]
            if found.class_ids[loser] != found.class_ids[winner] and gap < margin[winner]:
                runner_up[winner], margin[winner] = found.class_ids[loser], gap
    return replace(found, runner_up=runner_up, margin=margin)[keep], keep
