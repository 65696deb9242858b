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
from perception.annotate.records import Answer, Failure, Record
from perception.boxes import clip_boxes
from perception.detector.decode import best_two, label, worth_keeping
from perception.detector.tiled import tiled
from perception.errors import PerceptionError
from perception.halving import is_out_of_memory, one_too_large
from perception.model import Model
from perception.onnx_session import runtime_errors
from perception.phrases import NEGATIVE, Phrases
from perception.pipeline import predict_masks
from perception.types import Candidates, FloatArray, ImageArray


@dataclass(frozen=True)
class Question:
    """What every picture of a run is asked.

    floor: boxes whose best score is below aren't kept; floor_nms: nor are those that overlap a
    better one of their class further. independent: the detector's phrases are, so that only those
    that a picture hasn't answered are asked. threshold: only for counting what would be reported.
    tile: the side of the tiles in which large pictures are looked at, 0 for none.
    """

    phrases: Phrases
    independent: bool
    floor: float
    floor_nms: float
    threshold: float
    max_pixels: int
    tile: int = 0


def answer_pictures(
    model: Model, pictures: Sequence[ReadPicture], question: Question
) -> list[Record]:
    """Answers pictures that are read; those that are asked the same, at once. One record each."""
    records: list[Record] = []
    groups: dict[Phrases, list[ReadPicture]] = {}
    for picture in pictures:
        phrases = _to_ask(picture, question)
        if phrases is None:
            records.append(_unchanged(picture))
        else:
            groups.setdefault(phrases, []).append(picture)
    for phrases, group in groups.items():
        records += _answer_group(model, group, phrases, question)
    return records


def _to_ask(picture: ReadPicture, question: Question) -> Phrases | None:
    """The phrases that this picture has still to answer; None if there are none."""
    phrases, asked = question.phrases, picture.task.asked
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
    places = {owner: n for n, owner in enumerate(used)}
    return Phrases(
        tuple(phrases.phrases[n] for n in chosen),
        tuple(places.get(owner, NEGATIVE) for owner in owners) if used else (0,) * len(owners),
        tuple(phrases.classes[owner] for owner in used) if used else ("",),
    )


def _answer_group(
    model: Model, pictures: Sequence[ReadPicture], phrases: Phrases, question: Question
) -> list[Record]:
    """Pictures with one question; one on which the model itself fails is a Failure.

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
    model: Model, pictures: Sequence[ReadPicture], phrases: Phrases, question: Question
) -> list[Record]:
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
    """One picture's record from its candidates; masks are made for those that are new."""
    task = picture.task
    adds = _known(picture) and question.independent
    before = np.isin(found.queries, task.queries) if adds else np.zeros(len(found), np.bool_)
    kept = np.zeros(len(found), np.bool_)
    kept[worth_keeping(found, phrases, same_class_iou=question.floor_nms)] = True
    new, scored = found[kept & ~before], found[kept | before]
    masks = _cut_out(model, picture.image, new, question.tile)
    rows, columns = np.nonzero((scored.scores >= question.floor) | best_two(scored, phrases))
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
        masks=masks.counts,
        quality=masks.quality,
        stability=masks.stability,
        consensus=masks.consensus,
        score_queries=scored.queries[rows],
        score_phrases=columns + len(asked),
        scores=scored.scores[rows, columns],
        reported=len(label(found, phrases, threshold=question.threshold)[0]),
    )


def _unchanged(picture: ReadPicture) -> Answer:
    """A picture whose file is another and whose content is what was answered."""
    floats, ints = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return Answer(
        picture=picture.task.picture,
        uid=picture.uid,
        image_hw=picture.image_hw,
        file=picture.file,
        adds=True,
        asked=picture.task.asked,
        boxes=np.zeros((0, 4), np.float32),
        queries=ints,
        masks=(),
        quality=floats,
        stability=floats,
        consensus=floats,
        score_queries=ints,
        score_phrases=ints,
        scores=floats,
    )


class _Masks(NamedTuple):
    """counts: K, None where the segmenter found nothing; quality, stability, consensus: K."""

    counts: tuple[str | None, ...]
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray


def _cut_out(model: Model, image: ImageArray, new: Candidates, tile: int) -> _Masks:
    """The masks of K candidates, their own or each a prompt, as in ``pipeline.find_masks``."""
    clipped = clip_boxes(new.boxes, (image.shape[0], image.shape[1]))
    inside = np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(axis=1))
    own = None if new.masks is None else new.masks[inside]
    encoded = model.predictor.encode(image)
    answers = predict_masks(encoded, clipped[inside], own=own, tile=tile)
    counts: list[str | None] = [None] * len(new)
    quality, stability, consensus = np.zeros((3, len(new)), np.float32)
    for n, row in enumerate(inside[answers.prompt_ids].tolist()):
        counts[row] = answers.rles[n].counts
        quality[row], stability[row] = answers.quality[n], answers.stability[n]
        consensus[row] = answers.consensus[n]
    return _Masks(tuple(counts), quality, stability, consensus)
