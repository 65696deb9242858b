"""The concept-level F1 of promptable concept segmentation: is it there, and if so, all of it?

The classification-gated F1 (cgF1) of Carion and others, "SAM 3: Segment Anything with Concepts",
2025, section 3 and its appendix on metrics. A pair is an image and a concept, here a category.
An answer counts from a score of 0.5 up.

::

    presence       MCC = (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
                   of pairs: present or absent, answered or not; Matthews' correlation, -1 to 1
    localisation   pmF1 = mean over IoUs t = 0.5, 0.55, ..., 0.95 of 2 tp / (2 tp + fp + fn)
                   of instances, added up over the pairs that are present
    together       cgF1 = pmF1 * MCC

Answers and truth of a pair are matched one to one such that the sum of their IoUs is largest; at t
the matches of at least t are tp, the other answers fp, the other instances fn. With no term in a
denominator of pmF1 it is None. MCC is 0 where all pairs, or none, are answered: no correlation; and
None where all pairs, or none, are present: nothing can be told there (the authors' code has 0 for
both). The paper shows cgF1 times 100.

Only pairs count in which every instance is marked: those with a crowd region, and LVIS' "not
exhaustive" ones, are left out, as are pairs of which nothing is known where absence is noted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.evaluate.average_precision import IOUS, Kind, pair_ious
from perception.evaluate.cases import picture_cases
from perception.evaluate.ground_truth import Instance, Truth
from perception.evaluate.precision import basics, kinds_of
from perception.evaluate.predictions import Answers, Found
from perception.report.measurement import Case, Line, Plot, Table, rounded

THRESHOLD = 0.5
"""The least score of an answer that counts."""


@dataclass(frozen=True)
class Presence:
    """Pairs: present and answered, absent and not, absent and answered, present and not."""

    tp: int
    tn: int
    fp: int
    fn: int

    @property
    def mcc(self) -> float | None:
        """Matthews' correlation coefficient; None where no pair, or each one, is present."""
        tp, tn, fp, fn = map(float, (self.tp, self.tn, self.fp, self.fn))
        if not (tp + fn and tn + fp):
            return None
        scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / scale**0.5 if scale else 0.0


@dataclass(frozen=True)
class Localisation:
    """Instances of the pairs that are present, for each of ``IOUS``."""

    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]

    @property
    def f1(self) -> tuple[float, ...] | None:
        """For each IoU; None where nothing is present and nothing was answered."""
        if not self.tp[0] + self.fp[0] + self.fn[0]:
            return None
        counts = zip(self.tp, self.fp, self.fn, strict=True)
        return tuple(2 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts)


@dataclass(frozen=True)
class ConceptFigures:
    """Of boxes or of masks."""

    presence: Presence
    localisation: Localisation

    def pmf1(self, iou: float | None = None) -> float | None:
        """Positive micro F1, at an IoU or as the mean over ``IOUS``."""
        f1 = self.localisation.f1
        if f1 is None:
            return None
        return float(np.mean(f1)) if iou is None else f1[IOUS.index(iou)]

    def cgf1(self, iou: float | None = None) -> float | None:
        """Presence times localisation."""
        mcc, pmf1 = self.presence.mcc, self.pmf1(iou)
        return None if mcc is None or pmf1 is None else mcc * pmf1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        presence, f1 = self.presence, self.localisation.f1
        return {
            "cgF1": rounded(self.cgf1()),
            "cgF1@50": rounded(self.cgf1(0.5)),
            "cgF1@75": rounded(self.cgf1(0.75)),
            "pmF1": rounded(self.pmf1()),
            "pmF1@50": rounded(self.pmf1(0.5)),
            "pmF1@75": rounded(self.pmf1(0.75)),
            "MCC": rounded(presence.mcc),
            "presence": {
                "tp": presence.tp,
                "tn": presence.tn,
                "fp": presence.fp,
                "fn": presence.fn,
            },
            "F1 by IoU": None if f1 is None else [rounded(value) for value in f1],
        }


@dataclass(frozen=True, eq=False)
class ConceptResult:
    """A ``Measurement``: boxes, and masks where both sides have them."""

    title: str
    info: Mapping[str, Any]
    figures: Mapping[Kind, ConceptFigures]
    worst: tuple[Case, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {kind: one.to_json() for kind, one in self.figures.items()}

    def tables(self) -> tuple[Table, ...]:
        (first, *_) = self.figures.values()
        names = ("cgF1", "cgF1@50", "cgF1@75", "pmF1", "pmF1@50", "pmF1@75", "MCC")
        rows = tuple(
            (kind, *(one.to_json()[name] for name in names)) for kind, one in self.figures.items()
        )
        counts = first.presence
        pairs = Table(
            "Pairs of an image and a concept",
            ("", "answered", "not answered"),
            (("present", counts.tp, counts.fn), ("absent", counts.fp, counts.tn)),
        )
        return (Table(self.title, ("", *names), rows), pairs)

    def plots(self) -> tuple[Plot, ...]:
        lines = tuple(
            Line(kind, tuple(zip(IOUS, f1, strict=True)))
            for kind, one in self.figures.items()
            if (f1 := one.localisation.f1) is not None
        )
        return (Plot("Positive micro F1 by IoU", "IoU", "F1", lines),)

    def cases(self) -> tuple[Case, ...]:
        return self.worst


def measure_concepts(
    truth: Truth, answers: Answers, *, threshold: float = THRESHOLD
) -> ConceptResult:
    """The concept-level F1 of what was found; threshold: the least score that counts."""
    answers = answers.above(threshold)
    kinds = kinds_of(truth, answers)
    pairs = list(_pairs(truth, answers.found))
    figures = {kind: _figures(pairs, kind) for kind in kinds}
    worst = picture_cases(truth, answers, kinds[-1], threshold=threshold)
    info = basics(truth, answers) | {"pairs": len(pairs)}
    title = f"Concept-level F1 on {truth.name}"
    return ConceptResult(title, info, figures, worst)


_Pair = tuple[Sequence[Instance], Sequence[Found]]


def _pairs(truth: Truth, found: Sequence[Found]) -> Iterator[_Pair]:
    """The pairs of which all is known, each with what is there and what was answered."""
    true: dict[tuple[int, int], list[Instance]] = defaultdict(list)
    answered: dict[tuple[int, int], list[Found]] = defaultdict(list)
    for one in truth.instances:
        true[one.picture, one.category].append(one)
    for answer in found:
        answered[answer.picture, answer.category].append(answer)
    for picture in truth.pictures:
        for category in sorted(truth.judged(picture) - picture.open):
            things = true[picture.id, category]
            if not any(one.crowd for one in things):
                yield things, answered[picture.id, category]


def _figures(pairs: Sequence[_Pair], kind: Kind) -> ConceptFigures:
    cells = {(there, said): 0 for there in (True, False) for said in (True, False)}
    counts = np.zeros((3, len(IOUS)), np.int64)
    for things, answers in pairs:
        cells[bool(things), bool(answers)] += 1
        if things:
            counts += _counts(things, answers, kind)
    presence = Presence(
        cells[True, True], cells[False, False], cells[False, True], cells[True, False]
    )
    return ConceptFigures(presence, Localisation(*(tuple(row.tolist()) for row in counts)))


def _counts(things: Sequence[Instance], answers: Sequence[Found], kind: Kind) -> NDArray[np.int64]:
    """tp, fp and fn of one pair at each IoU, 3 x T."""
    from scipy.optimize import linear_sum_assignment

    overlap = pair_ious(answers, things, kind)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    matches = overlap[rows, columns]
    tp = np.array([(matches >= iou).sum() for iou in IOUS], np.int64)
    return np.stack([tp, len(answers) - tp, len(things) - tp])
