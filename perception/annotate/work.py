"""Answering one batch of pictures: pictures in, records for the database out.

Pure, and everything in and out can be pickled: the local runner calls it in threads, a cluster's
workers call it in actors, and neither knows of a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perception.annotate.reading import ReadPicture
from perception.annotate.records import Answer, Failure, Record, StoredBoxes
from perception.boxes import clip_boxes
from perception.close_ups import answer_boxes
from perception.detector.decode import Labelling, best_two, label, worth_keeping
from perception.detector.tiled import tiled
from perception.errors import PerceptionError
from perception.halving import is_out_of_memory, one_too_large
from perception.model import Model
from perception.onnx_session import runtime_errors
from perception.phrases import NEGATIVE, Phrases
from perception.types import Candidates, FloatArray, ImageArray


@dataclass(frozen=True)
class Question:
    """What every picture of a run is asked.

    floor: boxes whose best score is below aren't kept; floor_nms: nor are those that overlap a
    better one of their class further. independent: the detector's phrases are, so that only those
    that a picture hasn't answered are asked. threshold: only for counting what would be reported.
    tile: the side of the tiles in which large pictures are looked at, 0 for none. masks: what it
    shows gets masks, all else is stored as boxes (default: what ``threshold`` shows). A detector's
    own masks are all stored. masks_only: nothing is detected; an image that isn't what was answered
    is a failure.
    """

    phrases: Phrases
    independent: bool
    floor: float
    floor_nms: float
    threshold: float
    max_pixels: int
    tile: int = 0
    masks: Labelling | None = None
    masks_only: bool = False

    @property
    def masked(self) -> Labelling:
        """What gets masks."""
        return self.masks or Labelling(self.threshold)


def answer_pictures(
    model: Model, pictures: Sequence[ReadPicture], question: Question
) -> list[Record]:
    """Answers pictures that are read; those that are asked the same, at once. One record each."""
    records: list[Record] = []
    groups: dict[Phrases | None, list[ReadPicture]] = {}
    for picture in pictures:
        if question.masks_only and not _known(picture):
            records.append(Failure(picture.task.picture, "the image is another now", picture.file))
        else:
            groups.setdefault(_to_ask(picture, question), []).append(picture)
    for phrases, group in groups.items():
        records += _answer_group(model, group, phrases, question)
    return records


def _to_ask(picture: ReadPicture, question: Question) -> Phrases | None:
    """The phrases that this picture has still to answer; None if there are none."""
    phrases, asked = question.phrases, picture.task.asked
    if question.masks_only:
        return None
    if not _known(picture):
        return phrases
    if not question.independent:
        return None if asked == phrases.phrases else phrases
    answered = frozenset(asked)
    new = [n for n, phrase in enumerate(phrases.phrases) if phrase not in answered]
    return _subset(phrases, new) if new else None


def _known(picture: ReadPicture) -> bool:
    """Whether what was answered before was of this content."""
    return picture.task.uid == picture.uid


def _subset(phrases: Phrases, chosen: Sequence[int]) -> Phrases:
    """Some of the phrases with their classes; negatives alone become a class."""
    owners = [phrases.class_ids[n] for n in chosen]
    used = sorted({owner for owner in owners if owner != NEGATIVE})
    return Phrases(
        tuple(phrases.phrases[n] for n in chosen),
        tuple(used.index(owner) if owner in used else NEGATIVE for owner in owners)
        if used
        else (0,) * len(owners),
        tuple(phrases.classes[owner] for owner in used) if used else ("",),
    )


def _answer_group(
    model: Model, pictures: Sequence[ReadPicture], phrases: Phrases | None, question: Question
) -> list[Record]:
    """Pictures with one question; one on which the model itself fails is a Failure.

    phrases: None where only masks may be missing.

    Where memory runs out, fewer are answered at once, here and from then on.
    """

    def work(some: Sequence[ReadPicture]) -> list[Record]:
        try:
            return _answers(model, some, phrases, question)
        except _model_errors() as error:
            if is_out_of_memory(error):
                raise
            if len(some) == 1:
                return [_failure(some[0], " ".join(str(error).split()) or type(error).__name__)]
        return [record for picture in some for record in work([picture])]

    def too_large(picture: ReadPicture, why: str) -> Record:
        return _failure(picture, str(one_too_large(why)))

    return model.batches.run(pictures, work, most=len(pictures), too_large=too_large)


def _answers(
    model: Model, pictures: Sequence[ReadPicture], phrases: Phrases | None, question: Question
) -> list[Record]:
    if phrases is None:
        return [_with_masks(model, picture, question) for picture in pictures]
    found = tiled(model.detector, question.tile or None).candidates(
        [picture.image for picture in pictures], phrases, floor=question.floor
    )
    return [
        _answer(model, picture, phrases, one, question)
        for picture, one in zip(pictures, found, strict=True)
    ]


def _failure(picture: ReadPicture, why: str) -> Failure:
    return Failure(picture.task.picture, f"the model failed on it: {why}", picture.file)


def _model_errors() -> tuple[type[Exception], ...]:
    """What a model raises for one picture that it can't work on."""
    return (PerceptionError, MemoryError, RuntimeError, *runtime_errors())


def _answer(
    model: Model, picture: ReadPicture, phrases: Phrases, found: Candidates, question: Question
) -> Answer:
    """One picture's record from its candidates; masks are made for what is shown."""
    task = picture.task
    adds = _known(picture) and question.independent
    stored = task.stored if adds else None
    before = np.zeros(len(found), np.bool_)
    if stored is not None:
        before = np.isin(found.queries, stored.candidates.queries)
    kept = np.zeros(len(found), np.bool_)
    kept[worth_keeping(found, phrases, same_class_iou=question.floor_nms)] = True
    new, scored = found[kept & ~before], found[kept | before]
    worth = (scored.scores >= question.floor) | best_two(scored, phrases)
    rows, columns = np.nonzero(worth)
    known = Candidates(scored.boxes, np.where(worth, scored.scores, 0), scored.queries)
    masked = new
    if found.masks is None:
        after = _stored_after(stored, known, phrases, question.phrases)
        masked = after.candidates[after.without_mask(question.masked, question.phrases)]
    masks = _cut_out(model, picture.image, masked, question.tile)
    asked = task.asked if adds else ()
    return Answer(
        picture=task.picture,
        uid=picture.uid,
        image_hw=picture.image_hw,
        file=picture.file,
        adds=adds,
        asked=asked + phrases.phrases,
        boxes=new.boxes,
        queries=new.queries,
        mask_queries=masked.queries,
        masks=masks.counts,
        quality=masks.quality,
        stability=masks.stability,
        consensus=masks.consensus,
        score_queries=scored.queries[rows],
        score_phrases=columns + len(asked),
        scores=scored.scores[rows, columns],
        reported=len(label(found, phrases, threshold=question.threshold)[0]),
    )


def _stored_after(
    stored: StoredBoxes | None, scored: Candidates, phrases: Phrases, prompt: Phrases
) -> StoredBoxes:
    """What will be stored of a picture, as ``RunReader.boxes`` then reads it.

    stored: what was before; scored: K boxes, new ones and some of these, with their scores of the
    phrases that were asked now, which are some of the prompt's.
    """
    none = np.zeros((0, len(prompt)), np.float32)
    before = Candidates(np.zeros((0, 4), np.float32), none, np.zeros(0, np.int64))
    made = np.zeros(0, np.bool_)
    if stored is not None and len(stored.made):
        before, made = stored.candidates, stored.made
    new = scored[~np.isin(scored.queries, before.queries)]
    queries = np.concatenate([before.queries, new.queries])
    order = np.argsort(queries)
    scores = np.concatenate([before.scores, np.zeros((len(new), len(prompt)), np.float32)])
    column = {text: n for n, text in enumerate(prompt.phrases)}
    rows = order[np.searchsorted(queries, scored.queries, sorter=order)]
    columns = np.array([column[text] for text in phrases.phrases], np.int64)
    scores[np.ix_(rows, columns)] = scored.scores
    every = Candidates(np.concatenate([before.boxes, new.boxes]), scores, queries)
    return StoredBoxes(every[order], np.concatenate([made, np.zeros(len(new), np.bool_)])[order])


def _with_masks(model: Model, picture: ReadPicture, question: Question) -> Answer:
    """A picture that has answered all phrases: with the masks that are shown and weren't made.

    There may be none: its file may be another, and its content what was answered.
    """
    task = picture.task
    none = np.zeros((0, 4), np.float32)
    missing = Candidates(none, none, np.zeros(0, np.int64))
    if task.stored is not None:
        rows = task.stored.without_mask(question.masked, question.phrases)
        missing = task.stored.candidates[rows]
    masks = _cut_out(model, picture.image, missing, question.tile)
    return Answer(
        picture=task.picture,
        uid=picture.uid,
        image_hw=picture.image_hw,
        file=picture.file,
        adds=True,
        asked=task.asked,
        boxes=none,
        queries=np.zeros(0, np.int64),
        mask_queries=missing.queries,
        masks=masks.counts,
        quality=masks.quality,
        stability=masks.stability,
        consensus=masks.consensus,
        score_queries=np.zeros(0, np.int64),
        score_phrases=np.zeros(0, np.int64),
        scores=np.zeros(0, np.float32),
        reported=len(missing),
    )


class _Masks(NamedTuple):
    """counts: K, None where the segmenter found nothing; quality, stability, consensus: K."""

    counts: tuple[str | None, ...]
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray


def _cut_out(model: Model, image: ImageArray, new: Candidates, tile: int) -> _Masks:
    """The masks of K boxes, their own or each a prompt, as in ``pipeline.find_masks``."""
    clipped = clip_boxes(new.boxes, (image.shape[0], image.shape[1]))
    inside = np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1))
    own = None if new.masks is None else new.masks[inside]
    answers = answer_boxes(model.segmenter, image, clipped[inside], own=own, side=tile)
    counts: list[str | None] = [None] * len(new)
    quality, stability, consensus = np.zeros((3, len(new)), np.float32)
    for n, row in enumerate(inside[answers.prompt_ids].tolist()):
        counts[row] = answers.rles[n].counts
        quality[row], stability[row] = answers.quality[n], answers.stability[n]
        consensus[row] = answers.consensus[n]
    return _Masks(tuple(counts), quality, stability, consensus)
