"""What goes into a run database and comes out of it, one image at a time.

An image's marks take the place of what a model has found in it, wherever a run is looked at or
written out. They are kept by the name of their class, so that another prompt doesn't move them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, nan
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from perception.detectors.decode import Labelling
from perception.instances import Instances
from perception.ops.masks import rle_area, rle_to_box
from perception.prompts.grammar import Phrases, normalize
from perception.types import BoolArray, Candidates, FloatArray, IntArray, Rle


class FileStamp(NamedTuple):
    """What tells a file from an earlier one of its name: bytes, and its time in nanoseconds."""

    bytes: int
    modified: int


@dataclass(frozen=True, eq=False)
class StoredBoxes:
    """The boxes that are stored of an image, K, sorted by query.

    candidates: with the scores of the phrases of the run's prompt, 0 where a score was too low to
    be kept or the phrase wasn't asked yet; made: K, whether the mask was made.
    """

    candidates: Candidates
    made: BoolArray

    def without_mask(self, labelling: Labelling, phrases: Phrases) -> IntArray:
        """Which of them a result shows although their mask wasn't made yet, sorted."""
        _, rows = labelling.label(self.candidates, phrases)
        rows = np.unique(rows)
        missing: IntArray = rows[~self.made[rows]]
        return missing


@dataclass(frozen=True, eq=False)
class Task:
    """An image that waits for its answer, or for masks.

    path: of its file. What was answered before, if anything: uid, of the content that was answered;
    asked, the phrases; stored, what was found.
    """

    picture: int
    path: str
    uid: str = ""
    asked: tuple[str, ...] = ()
    stored: StoredBoxes | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """An image's answer: K new instances, M masks and S scores.

    uid, image_hw: of its content; file: what it was read from; adds: whether it adds to what was
    answered before, or takes its place; asked: all phrases that the image has answered now.
    boxes: K x 4 xyxy, as the detector gave them; queries: K. Masks and scores are of these
    instances and of those from before. mask_queries: M, of the instances whose mask was made;
    masks: M, None where the segmenter found nothing; quality, stability, consensus: M, as
    ``Answers`` has them; score_queries, score_phrases: S, the latter index ``asked``; scores: S.
    reported: how many of the instances a result shows, which isn't stored.
    """

    picture: int
    uid: str
    image_hw: tuple[int, int]
    file: FileStamp | None
    adds: bool
    asked: tuple[str, ...]
    boxes: FloatArray
    queries: IntArray
    mask_queries: IntArray
    masks: tuple[str | None, ...]
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray
    score_queries: IntArray
    score_phrases: IntArray
    scores: FloatArray
    reported: int = 0


@dataclass(frozen=True)
class Failure:
    """An image that has no answer. reason: one line, without the image's name."""

    picture: int
    reason: str
    file: FileStamp | None = None


Record = Answer | Failure


@dataclass(frozen=True)
class StoredPicture:
    """An image of a run that is done, or that a hand has worked on.

    name: its relative POSIX path; file: what was answered or marked; revision: of its marks, which
    stand in the place of its instances, or 0 where there are none.
    """

    picture: int
    name: str
    uid: str
    image_hw: tuple[int, int]
    file: FileStamp | None
    revision: int = 0


@dataclass(frozen=True)
class ListedPicture:
    """Any image of a run. state: waiting, done or failed; reason: why it failed.

    revision, marks: of its marks and how many there are; 0 where no hand has worked on it.
    """

    picture: int
    name: str
    state: str
    reason: str | None
    revision: int
    marks: int


@dataclass(frozen=True, eq=False)
class StoredInstances:
    """All that is stored of one image, K instances, sorted by query.

    candidates: their boxes and the scores of the phrases that were asked for, 0 where a score was
    too low to be kept; made: K, whether the mask was made; masks: K, None where it wasn't or the
    segmenter found nothing; quality, stability, consensus: K, nan where the mask wasn't made.
    """

    candidates: Candidates
    made: BoolArray
    masks: tuple[Rle | None, ...]
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray


@dataclass(frozen=True)
class MissingMasks:
    """Masks that weren't made: how many of each image; best: the best score of their boxes."""

    of_picture: Mapping[int, int]
    best: float

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(self.of_picture.values())

    def __bool__(self) -> bool:
        return bool(self.of_picture)

    @property
    def remedy(self) -> str:
        """A threshold at which none of them is shown, in words."""
        least = (floor(100 * self.best) + 1) / 100
        return f"--threshold {least:g} or more" if least <= 1 else "another run"

    def __str__(self) -> str:
        """``1,204 masks in 38 images``."""
        masks, images = self.count, len(self.of_picture)
        return (
            f"{masks:,} mask{'' if masks == 1 else 's'} in {images:,} "
            f"image{'' if images == 1 else 's'}"
        )


@dataclass(frozen=True)
class Counts:
    """How many of a run's images are waiting, done and failed."""

    waiting: int = 0
    done: int = 0
    failed: int = 0

    @classmethod
    def of(cls, states: Mapping[str, int]) -> Counts:
        """Counts by the name of the state."""
        return cls(states.get("waiting", 0), states.get("done", 0), states.get("failed", 0))

    @property
    def total(self) -> int:
        """All images of the run."""
        return self.waiting + self.done + self.failed


Origin = Literal["model", "hand", "corrected"]
"""model: as a model gave it; hand: made from nothing; corrected: a model's that a hand changed."""

ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class Mark:
    """One thing on an image. uid: its name in every revision; label: its class.

    score, quality, stability: in 0..1 where a model gave them, else None.
    """

    uid: str
    label: str
    origin: Origin
    rle: Rle
    score: float | None = None
    quality: float | None = None
    stability: float | None = None


@dataclass(frozen=True)
class MarkedContent:
    """What was marked. uid, image_hw: of the image's content; file: what it was read from."""

    uid: str
    image_hw: tuple[int, int]
    file: FileStamp | None


def instances_to_marks(found: Instances) -> tuple[Mark, ...]:
    """What a model has found, as marks; the same instances always get the same uids."""
    origins = found.origins or ("model",) * len(found)
    return tuple(
        Mark(
            uid=_uid(found.uid, label, rle.counts, str(n)),
            label=label,
            origin=_known(origins[n]),
            rle=rle,
            score=_plain(found.scores, n),
            quality=_plain(found.quality, n),
            stability=_plain(found.stability, n),
        )
        for n, (label, rle) in enumerate(zip(found.labels, found.rles, strict=True))
    )


def marks_to_instances(
    marks: Sequence[Mark], image_hw: tuple[int, int], classes: Sequence[str], **about: Any
) -> Instances:
    """Marks as instances, in their order; numbers that no model gave are nan.

    classes: all of the run, among which each mark's is; about: further fields of ``Instances``.
    Marks without a pixel are left out, and so is the second of two that are the same.
    """
    shown = {(mark.label, mark.rle): mark for mark in reversed(marks) if rle_area(mark.rle)}
    kept = [mark for mark in marks if shown.get((mark.label, mark.rle)) is mark]
    class_ids = {normalize(name): n for n, name in enumerate(classes)}
    return Instances(
        image_hw=image_hw,
        classes=tuple(classes),
        boxes=np.array([rle_to_box(mark.rle) for mark in kept], np.float32),
        scores=_numbers([mark.score for mark in kept]),
        class_ids=np.array([class_ids[normalize(mark.label)] for mark in kept], np.int64),
        rles=tuple(mark.rle for mark in kept),
        quality=_numbers([mark.quality for mark in kept]),
        stability=_numbers([mark.stability for mark in kept]),
        origins=tuple(mark.origin for mark in kept),
        **about,
    )


def _known(origin: str) -> Origin:
    return next(known for known in ORIGINS if known == origin)


def _uid(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _plain(values: NDArray[Any] | None, n: int) -> float | None:
    """Rounded, as it is written everywhere, so that it comes back as it went, and within 0..1.

    A predicted quality may be a little beyond.
    """
    if values is None or np.isnan(values[n]):
        return None
    return round(min(max(float(values[n]), 0.0), 1.0), 4)


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([nan if value is None else value for value in values], np.float32)
