"""Proposals: how much does segment-everything find, whatever it is?

AR@K is COCO's average recall: the share of things that one of an image's K best proposals, by
predicted quality, covers at an IoU of 0.5, 0.55, ... 0.95, averaged over these. Classes don't
count. Crowd regions are no things here: they change no recall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.evaluate.average_precision import (
    IOUS,
    NOTHING,
    SIZES,
    Kind,
    Precision,
    accumulate,
    pair_ious,
)
from perception.evaluate.cache import answer_all, asked_of
from perception.evaluate.ground_truth import Category, Instance, Picture, Truth, box_of
from perception.evaluate.objects import Things, TruePicture, as_instances
from perception.evaluate.predictions import Found
from perception.instances import Instances
from perception.models.model import Model
from perception.ops.masks import rle_area
from perception.predictor.everything import find_everything
from perception.predictor.everything_settings import EverythingSettings
from perception.report.html import Watch, unwatched
from perception.report.measurement import Case, Line, Plot, Table, rounded, worst
from perception.types import ImageArray, Rle

BUDGETS = (10, 100, 1000)
"""How many proposals of an image count."""

KINDS: tuple[Kind, ...] = ("mask", "box")
_OBJECT = Category(1, "object")


@dataclass(frozen=True)
class ProposedPicture:
    """An image with its proposals, K by falling quality."""

    picture: TruePicture
    rles: tuple[Rle, ...]
    quality: tuple[float, ...]


def measure_recall(rows: Sequence[ProposedPicture], kind: Kind) -> Precision:
    """Recall with each of ``BUDGETS``: of all things, and by size of the mask."""
    pictures = [
        Picture(n, row.picture.file_name, row.picture.image_hw) for n, row in enumerate(rows)
    ]
    true = [one for n, row in enumerate(rows) for one in _true(row, n)]
    found = [one for n, row in enumerate(rows) for one in _found(row, n)]
    truth = Truth("", tuple(pictures), (_OBJECT,), tuple(true))
    return accumulate(truth, found, kind, most=BUDGETS)


def recall_curve(recalls: Precision, budget: int) -> NDArray[np.float64]:
    """Recall at each of ``average_precision.IOUS``, nan where there is nothing to find."""
    values = recalls.recall[:, 0, 0, recalls.most.index(budget)]
    curve: NDArray[np.float64] = np.where(values > NOTHING, values, np.nan)
    return curve


def best_matches(row: ProposedPicture) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of an image's N things the proposal that covers it best, and its IoU, both N.

    -1 and 0 where nothing is proposed.
    """
    count = len(row.picture.things)
    if not row.rles:
        return np.full(count, -1, np.int64), np.zeros(count)
    ious = pair_ious(_found(row, 0), _true(row, 0), "mask")  # K x N
    return ious.argmax(axis=0).astype(np.int64), ious.max(axis=0)


def _true(row: ProposedPicture, picture: int) -> list[Instance]:
    return [
        Instance(
            picture, _OBJECT.id, _box(thing.inside), float(rle_area(thing.inside)), thing.inside
        )
        for thing in row.picture.things
    ]


def _found(row: ProposedPicture, picture: int) -> list[Found]:
    return [
        Found(picture, _OBJECT.id, quality, _box(rle), rle)
        for rle, quality in zip(row.rles, row.quality, strict=True)
    ]


def _box(rle: Rle) -> tuple[float, float, float, float]:
    return box_of(None, rle) or (0.0, 0.0, 0.0, 0.0)


def measure_proposals(
    model: Model,
    things: Things,
    settings: EverythingSettings,
    *,
    keep: Path | None = None,
    watch: Watch = unwatched,
) -> ProposalResult:
    """Segment-everything on every image; keep: see ``kept_answers``."""

    def ask(image: ImageArray, _picture: TruePicture) -> dict[str, Any]:
        found = find_everything(model.predictor, image, settings)[: BUDGETS[-1]]
        quality = [] if found.quality is None else found.quality.tolist()
        return {"masks": [rle.counts for rle in found.rles], "quality": quality}

    asked = asked_of(model, things, measured="everything", settings=settings.to_info())
    answered = answer_all(things, ask, asked=asked, keep=keep, watch=watch)
    rows = tuple(
        ProposedPicture(
            picture,
            tuple(Rle(picture.image_hw, counts) for counts in kept["masks"]),
            tuple(kept["quality"]),
        )
        for picture, kept in answered
    )
    return ProposalResult(asked | {"left out": things.left_out}, rows)


@dataclass(frozen=True, eq=False)
class ProposalResult:
    """A ``Measurement``."""

    info: Mapping[str, Any]
    rows: tuple[ProposedPicture, ...]

    @property
    def title(self) -> str:
        return f"Everything: {len(self.rows):,} images, {self._things('all'):,} things"

    @cached_property
    def recalls(self) -> dict[Kind, Precision]:
        """Of masks, and of the boxes around them."""
        return {kind: measure_recall(self.rows, kind) for kind in KINDS}

    @property
    def proposed(self) -> float:
        """How many proposals an image has on average."""
        return float(np.mean([len(row.rles) for row in self.rows]))

    def _things(self, size: str) -> int:
        things = [thing for row in self.rows for thing in row.picture.things]
        return sum(size in ("all", thing.size) for thing in things)

    def to_json(self) -> dict[str, Any]:
        def figures(recalls: Precision) -> dict[str, Any]:
            return {
                size: {f"AR@{most}": rounded(recalls.ar(most=most, size=size)) for most in BUDGETS}
                for size in SIZES
            }

        return {
            "pictures": len(self.rows),
            "things": {size: self._things(size) for size in SIZES},
            "proposals an image": rounded(self.proposed, decimals=1),
            **{kind: figures(recalls) for kind, recalls in self.recalls.items()},
        }

    def tables(self) -> tuple[Table, ...]:
        columns = ("", "things", *(f"AR@{most}" for most in BUDGETS))
        rows = [
            (
                kind if size == "all" else f"{kind}, {size}",
                self._things(size),
                *(rounded(recalls.ar(most=most, size=size)) for most in BUDGETS),
            )
            for kind, recalls in self.recalls.items()
            for size in SIZES
        ]
        title = f"Average recall of proposals ({self.proposed:.0f} an image)"
        return (Table(title, columns, tuple(rows)),)

    def plots(self) -> tuple[Plot, ...]:
        lines = [
            Line(
                f"{kind}, {most} proposals",
                tuple(zip(IOUS, recall_curve(recalls, most).tolist(), strict=True)),
            )
            for kind, recalls in self.recalls.items()
            for most in BUDGETS
        ]
        sizes = [size for size in SIZES[1:] if self._things(size)]
        masks = self.recalls["mask"]
        bars = [
            Line(
                f"AR@{most}",
                tuple(
                    (float(n), masks.ar(most=most, size=size) or 0.0)
                    for n, size in enumerate(sizes)
                ),
            )
            for most in BUDGETS
        ]
        return (
            Plot("Recall by IoU", "IoU at least", "recall", tuple(lines)),
            Plot("Masks by size", "size", "AR", tuple(bars), bars=True, ticks=tuple(sizes)),
        )

    def cases(self) -> tuple[Case, ...]:
        return worst([_case(row) for row in self.rows])


def _case(row: ProposedPicture) -> Case:
    """An image with the best proposal for each of its things, where there is one at all."""
    best, ious = best_matches(row)
    things = row.picture.things
    shown = [(row.rles[n], thing.label) for n, thing in zip(best, things, strict=True) if n >= 0]
    answer = (
        as_instances([rle for rle, _ in shown], [label for _, label in shown])
        if shown
        else Instances.empty(row.picture.image_hw)
    )
    count = f"{len(things)} thing{'s' * (len(things) > 1)}"
    return Case(
        file_name=row.picture.file_name,
        value=float(ious.mean()),
        caption=f"best proposals for {count}: mean IoU {ious.mean():.2f}, "
        f"{int((ious >= 0.5).sum())} from 0.5 up",
        truth=as_instances([thing.inside for thing in things], [thing.label for thing in things]),
        answer=answer,
    )
