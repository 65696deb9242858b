"""What goes into a run database and what comes out of it, one picture at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import NamedTuple

import numpy as np

from perception.detector.decode import Labelling
from perception.phrases import Phrases
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
    """A picture that waits for its answer, or for masks.

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
    """A picture's answer: K new instances, M masks and S scores.

    uid, image_hw: of its content; file: what it was read from; adds: whether it adds to what was
    answered before, or takes its place; asked: all phrases that the picture has answered now.
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
    """A picture that has no answer. reason: one line, without the picture's name."""

    picture: int
    reason: str
    file: FileStamp | None = None


Record = Answer | Failure


@dataclass(frozen=True)
class StoredPicture:
    """A picture of a run that is done, or that a hand has worked on.

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
    """Any picture of a run. state: waiting, done or failed; reason: why it failed.

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
    """All that is stored of one picture, K instances, sorted by query.

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
    """Masks that weren't made: how many of each picture; best: the best score of their boxes."""

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
    """How many of a run's pictures are waiting, done and failed."""

    waiting: int = 0
    done: int = 0
    failed: int = 0

    @classmethod
    def of(cls, states: Mapping[str, int]) -> Counts:
        """Counts by the name of the state."""
        return cls(states.get("waiting", 0), states.get("done", 0), states.get("failed", 0))

    @property
    def total(self) -> int:
        """All pictures of the run."""
        return self.waiting + self.done + self.failed
