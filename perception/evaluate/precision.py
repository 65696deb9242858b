"""COCO's and LVIS's average precision, of boxes and masks.

Matching, accumulation and constants are pycocotools' (Lin and others, "Microsoft COCO: Common
Objects in Context", 2014): AP is the mean over classes, ten IoUs from 0.5 to 0.95 and 101 recalls;
at most 100 answers a class and image count; what lies in a crowd region is neither right nor
wrong; small is an area below 32 x 32 pixels, large one above 96 x 96.

Of each category only some images have been judged (Gupta and others, "LVIS: A Dataset for Large
Vocabulary Instance Segmentation", 2019). So of each image's 300 best answers those count whose
category is present or verified to be absent there; where not every instance of a category is
marked, an answer that matches none isn't wrong. There are no crowds. All else is as in ``coco``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perception.errors import EvaluationError
from perception.evaluate.at_threshold import AtThreshold, at_threshold
from perception.evaluate.average_precision import IOUS, RECALLS, Kind, Precision, accumulate
from perception.evaluate.cases import picture_cases
from perception.evaluate.ground_truth import Truth
from perception.evaluate.predictions import Answers, Found
from perception.report.measurement import Case, Line, Plot, Table, rounded

Figures = Mapping[str, float | None]

_CURVES = (0.5, 0.75)
_IN_TABLE = 40
"""Classes that a table for people has at most."""


@dataclass(frozen=True)
class ClassFigures:
    """One category's. truth, found: how many there are."""

    name: str
    frequency: str
    truth: int
    found: int
    ap: float | None
    ap50: float | None
    ar: float | None


@dataclass(frozen=True)
class KindResult:
    """The figures of boxes, or of masks. curves: by IoU, precision at each of ``RECALLS``."""

    kind: Kind
    figures: Figures
    classes: tuple[ClassFigures, ...]
    curves: Mapping[float, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **{name: rounded(value) for name, value in self.figures.items()},
            "classes": [_class_json(one) for one in self.classes],
            "curves": {
                f"{iou:g}": [rounded(value) for value in values]
                for iou, values in self.curves.items()
            },
        }


@dataclass(frozen=True, eq=False)
class PrecisionResult:
    """A ``Measurement``: boxes, masks where both sides have them, what is seen at a threshold."""

    title: str
    info: Mapping[str, Any]
    kinds: tuple[KindResult, ...]
    worst: tuple[Case, ...] = ()
    seen: AtThreshold | None = None

    def figure(self, kind: Kind, name: str) -> float | None:
        """One figure, such as the "AP50" of boxes."""
        (one,) = (result for result in self.kinds if result.kind == kind)
        return one.figures[name]

    def to_json(self) -> dict[str, Any]:
        figures = {one.kind: one.to_json() for one in self.kinds}
        return figures | ({"at threshold": self.seen.to_json()} if self.seen else {})

    def tables(self) -> tuple[Table, ...]:
        names = tuple(self.kinds[0].figures)
        rows = tuple((one.kind, *one.figures.values()) for one in self.kinds)
        seen = (self.seen.table(),) if self.seen else ()
        return (Table(self.title, ("", *names), rows), *seen, self._class_table())

    def _class_table(self) -> Table:
        """Of the classes with most truth."""
        columns = ["class", "truth", "found"]
        for one in self.kinds:
            columns += [f"{one.kind} AP", f"{one.kind} AP50", f"{one.kind} AR"]
        order = sorted(
            range(len(self.kinds[0].classes)), key=lambda n: -self.kinds[0].classes[n].truth
        )
        rows = []
        for n in order[:_IN_TABLE]:
            first = self.kinds[0].classes[n]
            figures = [
                value
                for one in self.kinds
                for value in (one.classes[n].ap, one.classes[n].ap50, one.classes[n].ar)
            ]
            rows.append((first.name, first.truth, first.found, *figures))
        more = len(order) - _IN_TABLE
        title = "By class" + (f" ({more:,} more in the JSON)" if more > 0 else "")
        return Table(title, tuple(columns), tuple(rows))

    def plots(self) -> tuple[Plot, ...]:
        lines = tuple(
            Line(f"{one.kind}, IoU {iou:g}", tuple(zip(RECALLS, values, strict=True)))
            for one in self.kinds
            for iou, values in one.curves.items()
        )
        plots = [Plot("Precision and recall, mean over classes", "recall", "precision", lines)]
        groups = [name for name in ("APs", "APm", "APl") if name in self.kinds[0].figures]
        plots.append(self._bars("AP by size", groups, ("small", "medium", "large")))
        if "APr" in self.kinds[0].figures:
            rarity = ("rare", "common", "frequent")
            plots.append(self._bars("AP by frequency", ["APr", "APc", "APf"], rarity))
        return tuple(plots)

    def _bars(self, title: str, names: Sequence[str], ticks: tuple[str, ...]) -> Plot:
        lines = tuple(
            Line(
                one.kind,
                tuple((float(n), one.figures[name] or 0.0) for n, name in enumerate(names)),
            )
            for one in self.kinds
        )
        return Plot(title, "", "AP", lines, bars=True, ticks=ticks)

    def cases(self) -> tuple[Case, ...]:
        return self.worst


def kind_result(
    kind: Kind, precision: Precision, figures: Figures, truth: Truth, answers: Answers
) -> KindResult:
    """Of the figures and what they were made of, with the classes' own."""
    categories = {category.id: category for category in truth.categories}
    found = Counter(one.category for one in answers.found)
    classes = tuple(
        ClassFigures(
            name=categories[key].name,
            frequency=categories[key].frequency,
            truth=count,
            found=found[key],
            ap=precision.ap(only=[key]),
            ap50=precision.ap(iou=IOUS[0], only=[key]),
            ar=precision.ar(only=[key]),
        )
        for key, count in zip(precision.categories, precision.counts, strict=True)
    )
    curves = {iou: precision.curve(iou) for iou in _CURVES}
    return KindResult(
        kind,
        figures,
        classes,
        {iou: tuple(values.tolist()) for iou, values in curves.items() if values is not None},
    )


def kinds_of(truth: Truth, answers: Answers) -> tuple[Kind, ...]:
    """Boxes, and masks where both sides have them."""
    return ("box", "mask") if truth.has_masks and answers.has_masks else ("box",)


def basics(truth: Truth, answers: Answers) -> dict[str, Any]:
    """What was measured on what, for ``Measurement.info``."""
    noted: dict[str, Any] = {
        "truth": truth.name,
        "truth sha256": truth.sha256,
        "pictures": len(truth.pictures),
        "instances": sum(not one.crowd for one in truth.instances),
        **answers.info,
        "found": len(answers.found),
    }
    masks = "mask" in kinds_of(truth, answers)
    if masks and any(one.mask_score is not None for one in answers.found):
        noted["masks ranked by"] = "score times quality"
    if answers.unanswered:
        noted["images without an answer"] = answers.unanswered
    if answers.not_asked:
        noted["categories not asked for"] = list(answers.not_asked)
    return noted


def _class_json(one: ClassFigures) -> dict[str, Any]:
    row: dict[str, Any] = {"name": one.name}
    if one.frequency:
        row["frequency"] = one.frequency
    return row | {
        "truth": one.truth,
        "found": one.found,
        "AP": rounded(one.ap),
        "AP50": rounded(one.ap50),
        "AR": rounded(one.ar),
    }


COCO_MAX_DETECTIONS = (1, 10, 100)
"""Answers for one class in one image, best first: AR1, AR10, AR100."""


def measure_coco(truth: Truth, answers: Answers) -> PrecisionResult:
    """The average precision of what was found, of boxes and, where both sides have them, masks."""
    kinds = []
    for kind in kinds_of(truth, answers):
        precision = accumulate(truth, answers.found, kind, most=COCO_MAX_DETECTIONS)
        kinds.append(kind_result(kind, precision, _coco_figures(precision), truth, answers))
    worst = picture_cases(truth, answers, kinds[-1].kind)
    title = f"COCO average precision on {truth.name}"
    return PrecisionResult(
        title, basics(truth, answers), tuple(kinds), worst, at_threshold(truth, answers)
    )


def _coco_figures(precision: Precision) -> Figures:
    return {
        "AP": precision.ap(),
        "AP50": precision.ap(iou=0.5),
        "AP75": precision.ap(iou=0.75),
        "APs": precision.ap(size="small"),
        "APm": precision.ap(size="medium"),
        "APl": precision.ap(size="large"),
        "AR1": precision.ar(most=1),
        "AR10": precision.ar(most=10),
        "AR100": precision.ar(most=100),
        "ARs": precision.ar(size="small"),
        "ARm": precision.ar(size="medium"),
        "ARl": precision.ar(size="large"),
    }


LVIS_MAX_DETECTIONS = 300
"""Answers of all classes in one image, best first."""

_GROUPS = {"APr": "r", "APc": "c", "APf": "f"}


def measure_lvis(truth: Truth, answers: Answers) -> PrecisionResult:
    """The federated average precision of what was found; APr, APc, APf where frequency is noted.

    Raises EvaluationError for a truth in which no absence is noted.
    """
    if not truth.is_federated:
        raise EvaluationError(
            f"{truth.name}: no image has neg_category_ids, so nothing is known to be absent; "
            "measure with coco, if all categories are marked in all images"
        )
    truth = replace(truth, instances=tuple(replace(one, crowd=False) for one in truth.instances))
    counted = tuple(judged_only(truth, best_of_pictures(answers.found)))
    open_pairs = {(picture.id, key) for picture in truth.pictures for key in picture.open}
    kinds = []
    for kind in kinds_of(truth, answers):
        precision = accumulate(
            truth, counted, kind, most=[LVIS_MAX_DETECTIONS], open_pairs=open_pairs
        )
        figures = _lvis_figures(precision, truth)
        kinds.append(kind_result(kind, precision, figures, truth, answers))
    info = basics(truth, answers) | {"counted": len(counted)}
    worst = picture_cases(truth, answers, kinds[-1].kind)
    title = f"LVIS federated average precision on {truth.name}"
    return PrecisionResult(title, info, tuple(kinds), worst, at_threshold(truth, answers))


def best_of_pictures(found: Sequence[Found], most: int = LVIS_MAX_DETECTIONS) -> Iterator[Found]:
    """Each image's best answers; of equal scores the first."""
    by_picture: dict[int, list[Found]] = defaultdict(list)
    for one in found:
        by_picture[one.picture].append(one)
    for some in by_picture.values():
        yield from sorted(some, key=lambda one: -one.score)[:most]


def judged_only(truth: Truth, found: Iterator[Found]) -> Iterator[Found]:
    """The answers of categories that are known to be there, or not to be, in their image."""
    judged = {picture.id: truth.judged(picture) for picture in truth.pictures}
    return (one for one in found if one.category in judged[one.picture])


def _lvis_figures(precision: Precision, truth: Truth) -> Figures:
    figures = {
        "AP": precision.ap(),
        "AP50": precision.ap(iou=0.5),
        "AP75": precision.ap(iou=0.75),
        "APs": precision.ap(size="small"),
        "APm": precision.ap(size="medium"),
        "APl": precision.ap(size="large"),
        f"AR{LVIS_MAX_DETECTIONS}": precision.ar(),
    }
    if any(category.frequency for category in truth.categories):
        for name, letter in _GROUPS.items():
            ids = [category.id for category in truth.categories if category.frequency == letter]
            figures[name] = precision.ap(only=ids)
    return figures
