"""Figures of average precision: what ``coco`` and ``lvis`` give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perception.evaluate.at_threshold import AtThreshold
from perception.evaluate.average_precision import IOUS, RECALLS, Kind, Precision
from perception.evaluate.found import Answers
from perception.evaluate.measurement import Case, Line, Plot, Table, rounded
from perception.evaluate.truth import Truth

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
        noted["pictures without an answer"] = answers.unanswered
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
