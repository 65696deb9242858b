"""What segment-everything's proposals have come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perception.annotate.review.watch import Watch, unwatched
from perception.close_ups import cut_out_everything
from perception.evaluate.answering import answer_all
from perception.evaluate.asked import asked_of
from perception.evaluate.average_precision import IOUS, SIZES, Kind, Precision
from perception.evaluate.measurement import Case, Line, Plot, Table, rounded, worst
from perception.evaluate.proposals import (
    BUDGETS,
    KINDS,
    ProposedPicture,
    best_matches,
    measure_recall,
    recall_curve,
)
from perception.evaluate.shown_things import as_instances
from perception.evaluate.things import Things, TruePicture
from perception.instances import Instances
from perception.model import Model
from perception.segmenter.everything_settings import EverythingSettings
from perception.types import ImageArray, Rle


def measure_proposals(
    model: Model,
    things: Things,
    settings: EverythingSettings,
    *,
    keep: Path | None = None,
    watch: Watch = unwatched,
) -> ProposalResult:
    """Segment-everything on every picture; keep: see ``kept_answers``."""

    def ask(image: ImageArray, _picture: TruePicture) -> dict[str, Any]:
        found = cut_out_everything(model.segmenter, image, settings)[: BUDGETS[-1]]
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
        return f"Everything: {len(self.rows):,} pictures, {self._things('all'):,} things"

    @cached_property
    def recalls(self) -> dict[Kind, Precision]:
        """Of masks, and of the boxes around them."""
        return {kind: measure_recall(self.rows, kind) for kind in KINDS}

    @property
    def proposed(self) -> float:
        """How many proposals a picture has on average."""
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
            "proposals a picture": rounded(self.proposed, decimals=1),
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
        title = f"Average recall of proposals ({self.proposed:.0f} a picture)"
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
    """A picture with the best proposal for each of its things, where there is one at all."""
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
