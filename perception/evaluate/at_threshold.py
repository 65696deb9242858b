"""What one sees at one threshold: how many labeled boxes are right, and what absent names find.

Average precision says how well scores rank. This says how good the answers are that a user gets:
precision and recall of the boxes at the default threshold, and how often a name that isn't in an
image is answered with a box all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perception.defaults import THRESHOLD
from perception.evaluate.average_precision import pair_ious
from perception.evaluate.ground_truth import Instance, Picture, Truth
from perception.evaluate.predictions import Answers, Found
from perception.report.measurement import Table, rounded

RIGHT_IOU = 0.5
"""A box with at least this IoU with a thing of its label is right."""


@dataclass(frozen=True)
class AtThreshold:
    """right, wrong: boxes that score at least ``threshold``; things: how many there are to find;
    absent, answered: pairs of an image and a name known not to be in it, and those with a box.
    """

    threshold: float
    right: int
    wrong: int
    things: int
    absent: int
    answered: int

    @property
    def precision(self) -> float | None:
        """Of the boxes; None where there are none."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Of the things; None where there are none."""
        return self.right / self.things if self.things else None

    @property
    def absent_answered(self) -> float | None:
        """Which share of absent names is answered; None where no absence is known."""
        return self.answered / self.absent if self.absent else None

    def to_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "precision": rounded(self.precision),
            "recall": rounded(self.recall),
            "right": self.right,
            "wrong": self.wrong,
            "things": self.things,
            "absent pairs": self.absent,
            "absent pairs answered": rounded(self.absent_answered),
        }

    def table(self) -> Table:
        columns = "boxes", "precision", "recall", "absent names", "of them answered"
        cells = self.right + self.wrong, self.precision, self.recall
        cells += self.absent, self.absent_answered  # type: ignore[assignment]
        return Table(
            f"Boxes that score {self.threshold:g} or more", ("", *columns), (("", *cells),)
        )


def at_threshold(truth: Truth, answers: Answers, threshold: float = THRESHOLD) -> AtThreshold:
    """Count the boxes that score at least ``threshold``; each thing is found at most once.

    A box in a crowd of its label is neither right nor wrong. Of a federated truth only the
    categories count that are known to be in an image or not, and where not each instance is marked
    an unmatched box isn't wrong.
    """
    found: dict[tuple[int, int], list[Found]] = defaultdict(list)
    things: dict[tuple[int, int], list[Instance]] = defaultdict(list)
    for one in answers.found:
        if one.score >= threshold:
            found[one.picture, one.category].append(one)
    for thing in truth.instances:
        things[thing.picture, thing.category].append(thing)
    right = wrong = absent = answered = 0
    for picture in truth.pictures:
        missing = _absent(truth, picture)
        absent += len(missing)
        answered += sum((picture.id, category) in found for category in missing)
        for category in truth.judged(picture):
            pair = picture.id, category
            hits, extra = _match(found[pair], things[pair])
            right += hits
            wrong += 0 if category in picture.open else extra
    count = sum(not one.crowd for one in truth.instances)
    return AtThreshold(threshold, right, wrong, count, absent, answered)


def _absent(truth: Truth, picture: Picture) -> frozenset[int]:
    """The categories that are known not to be in an image."""
    return truth.judged(picture) - truth.present[picture.id]


def _match(found: Sequence[Found], things: Sequence[Instance]) -> tuple[int, int]:
    """How many boxes of one label in one image are right and wrong, best scores first."""
    ranked = sorted(found, key=lambda one: -one.score)
    ious = pair_ious(ranked, things, "box")
    free = [not thing.crowd for thing in things]
    right = wrong = 0
    for row in ious:
        fits = [n for n, iou in enumerate(row) if iou >= RIGHT_IOU]
        best = max((n for n in fits if free[n]), key=lambda n: float(row[n]), default=None)
        if best is not None:
            free[best] = False
            right += 1
        elif not any(things[n].crowd for n in fits):
            wrong += 1
    return right, wrong
