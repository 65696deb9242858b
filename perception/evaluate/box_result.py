"""What boxes as prompts have come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.annotate.review.watch import Watch, unwatched
from perception.evaluate.answering import answer_all
from perception.evaluate.asked import asked_by_name, asked_of
from perception.evaluate.box_masks import BoxMasks, PredictorBoxMasks
from perception.evaluate.boxes import DRAWS, JITTER, SEED, BoxedThing, answer_boxes, boxed_things
from perception.evaluate.measurement import Case, Line, Plot, Table, rounded, worst
from perception.evaluate.shown_things import as_instances, truth_instances
from perception.evaluate.things import SIZES, Things
from perception.model import Model

_FIGURES = {
    "tight": "tight box",
    "jittered": "jittered box",
    "oracle": "tight, best mask",
    "oracle_jittered": "jittered, best mask",
    "box": "the box as mask",
}
_STEPS = 20


def measure_boxes(
    answerer: Model | BoxMasks,
    things: Things,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    keep: Path | None = None,
    watch: Watch = unwatched,
) -> BoxResult:
    """Boxes around every thing; draws: jittered ones of each; keep: see ``kept_answers``."""
    settings = {"jitter": JITTER, "draws": draws, "seed": seed}
    if isinstance(answerer, Model):
        masks: BoxMasks = PredictorBoxMasks(answerer.predictor)
        asked = asked_of(answerer, things, measured="boxes", settings=settings)
    else:
        masks = answerer
        asked = asked_by_name(masks.name, things, measured="boxes", settings=settings)
    answered = answer_all(
        things,
        lambda image, picture: answer_boxes(masks, image, picture, draws=draws, seed=seed),
        asked=asked,
        keep=keep,
        watch=watch,
    )
    rows = [row for picture, kept in answered for row in boxed_things(picture, kept)]
    return BoxResult(asked | {"left out": things.left_out}, tuple(rows))


@dataclass(frozen=True, eq=False)
class BoxResult:
    """A ``Measurement``."""

    info: Mapping[str, Any]
    rows: tuple[BoxedThing, ...]

    @property
    def title(self) -> str:
        return f"Boxes: {len(self.rows):,} things"

    def miou(self, figure: str = "tight", size: str | None = None) -> float:
        """Mean IoU; figure: a field of ``BoxedThing``; size: of things of one of ``SIZES``."""
        ious = [iou for row in self._of(size) if (iou := getattr(row, figure)) is not None]
        return float(np.mean(ious)) if ious else float("nan")

    def _of(self, size: str | None) -> list[BoxedThing]:
        return [row for row in self.rows if size in (None, row.thing.size)]

    def to_json(self) -> dict[str, Any]:
        def figures(size: str | None) -> dict[str, Any]:
            mious = {name: rounded(self.miou(name, size)) for name in _FIGURES}
            return {"things": len(self._of(size)), "miou": mious}

        return figures(None) | {size: figures(size) for size in SIZES}

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (words, len(self._of(size)), *(rounded(self.miou(name, size)) for name in _FIGURES))
            for words, size in (("all", None), *((size, size) for size in SIZES))
        ]
        columns = ("", "things", *_FIGURES.values())
        return (Table("mIoU of masks from boxes", columns, tuple(rows)),)

    def plots(self) -> tuple[Plot, ...]:
        sizes = [size for size in SIZES if self._of(size)]
        bars = [
            Line(words, tuple((float(n), self.miou(name, size)) for n, size in enumerate(sizes)))
            for name, words in _FIGURES.items()
            if not name.startswith("oracle")
        ]
        return (
            Plot("IoU by size", "size", "mean IoU", tuple(bars), bars=True, ticks=tuple(sizes)),
            Plot(
                "How many are how good",
                "IoU at least",
                "share of things",
                tuple(self._shares(name) for name in ("tight", "jittered", "box")),
            ),
        )

    def _shares(self, figure: str) -> Line:
        """The share of things with an IoU of at least so much."""
        ious = np.array([getattr(row, figure) for row in self.rows], np.float64)
        steps = [n / _STEPS for n in range(_STEPS + 1)]
        points = tuple((step, float(np.mean(ious >= step))) for step in steps)
        return Line(_FIGURES[figure], points)

    def cases(self) -> tuple[Case, ...]:
        return worst([_case(row) for row in self.rows])


def _case(row: BoxedThing) -> Case:
    jittered = "" if row.jittered is None else f", {row.jittered:.2f} from jittered ones"
    return Case(
        file_name=row.picture.file_name,
        value=row.tight,
        caption=f"{row.thing.label}: IoU {row.tight:.2f} from the tight box{jittered}",
        truth=truth_instances(row.thing),
        answer=as_instances([row.answer], ("answer",)),
    )
