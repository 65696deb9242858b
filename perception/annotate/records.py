"""What goes into a run database and what comes out of it, one picture at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from perception.types import Candidates, FloatArray, IntArray, Rle


class FileStamp(NamedTuple):
    """What tells a file from an earlier one of its name: bytes, and its time in nanoseconds."""

    bytes: int
    modified: int


@dataclass(frozen=True)
class Task:
    """A picture that waits for its answer.

    path: of its file. What was answered before, if anything: uid, of the content that was answered;
    asked, the phrases; queries, the detector's places that have an instance.
    """

    picture: int
    path: str
    uid: str = ""
    asked: tuple[str, ...] = ()
    queries: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """A picture's answer: K new instances, and S scores of these and of instances from before.

    uid, image_hw: of its content; file: what it was read from; adds: whether it adds to what was
    answered before, or takes its place; asked: all phrases that the picture has answered now.
    boxes: K x 4 xyxy, as the detector gave them; queries: K; masks: K, None where the segmenter
    found nothing; quality, stability, consensus: K, as ``Answers`` has them; score_queries,
    score_phrases: S, the latter index ``asked``; scores: S. reported: how many of the instances a
    result shows, which isn't stored.
    """

    picture: int
    uid: str
    image_hw: tuple[int, int]
    file: FileStamp | None
    adds: bool
    asked: tuple[str, ...]
    boxes: FloatArray
    queries: IntArray
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
    too low to be kept; masks: K, None where the segmenter found nothing; quality, stability,
    consensus: K.
    """

    candidates: Candidates
    masks: tuple[Rle | None, ...]
    quality: FloatArray
    stability: FloatArray
    consensus: FloatArray


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
