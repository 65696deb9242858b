"""Masks from boxes: tight ones and jittered ones, by a predictor or by GrabCut.

A jittered box has each of its sides moved by a part of the box's width or height that is drawn
evenly from -0.1 to 0.1, then is cut at the image's edges. The draws follow from a fixed seed, the
image's name and the thing's id: they are the same whatever else is measured, and in which order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from perception.evaluate.average_precision import mask_iou
from perception.evaluate.cache import answer_all, asked_by_name, asked_of
from perception.evaluate.objects import (
    SIZES,
    Thing,
    Things,
    TruePicture,
    as_instances,
    truth_instances,
)
from perception.models.model import Model
from perception.ops.boxes import as_boxes, clip_boxes
from perception.ops.masks import mask_to_rle
from perception.predictor.protocol import MaskPredictor
from perception.report.html import Watch, unwatched
from perception.report.measurement import Case, Line, Plot, Table, rounded, worst
from perception.types import BoolArray, FloatArray, ImageArray, Rle

ITERATIONS = 5
"""Of GrabCut, for which the reference figure on its own set was measured."""


class BoxMasks(Protocol):
    """Cuts out what boxes show."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        """For each box N x 4 on an image H x W x 3 the masks M x H x W, its own choice first."""
        ...


class PredictorBoxMasks:
    """A predictor's four masks for each box: the single-mask answer, then the candidates.

    Each box is predicted as ``Model.segment`` does it, and each mask is as it would be shown.
    """

    def __init__(self, predictor: MaskPredictor) -> None:
        self._predictor = predictor

    @property
    def name(self) -> str:
        return self._predictor.segmenter.name

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        encoded = self._predictor.encode(image)
        # Box by box, since predict_boxes may change their order.
        for box in boxes:
            ((_, candidates),) = encoded.predict_boxes(box[None])
            yield np.stack([one.mask() for one in candidates])


class GrabCutBoxMasks:
    """GrabCut (Rother et al. 2004) as OpenCV has it: all outside the box is background."""

    name = "cv2.grabCut"

    def __init__(self, *, iterations: int = ITERATIONS) -> None:
        self._iterations = iterations

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        bgr = np.ascontiguousarray(image[..., ::-1])
        for box in boxes:
            yield self._mask(bgr, box)[None]

    def _mask(self, bgr: ImageArray, box: FloatArray) -> BoolArray:
        import cv2

        height, width = bgr.shape[:2]
        x0, y0, x1, y1 = np.clip(np.round(box), 0, [width, height] * 2).astype(int).tolist()
        inside = np.zeros((height, width), np.bool_)
        inside[y0:y1, x0:x1] = True
        if inside.all() or not inside.any():
            return inside  # It learns the background from what is outside, and there is nothing.
        labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        models = np.zeros((2, 1, 65))
        cv2.setRNGSeed(0)  # It starts from clusters that are drawn at random.
        cv2.grabCut(
            bgr, labels, (0, 0, 0, 0), models[0], models[1], self._iterations, cv2.GC_INIT_WITH_MASK
        )
        mask: BoolArray = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return mask


JITTER = 0.1
"""By how much of a box's width or height a side is moved at most."""
DRAWS = 3
"""Jittered boxes of each thing: their IoUs are averaged."""
SEED = 0


@dataclass(frozen=True)
class BoxedThing:
    """One thing's IoUs. tight, jittered: of the answerer's own choice, the second a mean.

    oracle, oracle_jittered: of its best mask; box: of the tight box itself, taken for a mask;
    answer: the mask for the tight box. Where nothing was jittered, these figures are None.
    """

    picture: TruePicture
    thing: Thing
    tight: float
    jittered: float | None
    oracle: float
    oracle_jittered: float | None
    box: float
    answer: Rle


def jittered_boxes(
    box: FloatArray, image_hw: tuple[int, int], key: str, *, draws: int = DRAWS, seed: int = SEED
) -> FloatArray:
    """A box, 4, as ``draws`` boxes that are a little off, draws x 4; each has a pixel at least.

    key: what the draws follow from, beside the seed.
    """
    digest = hashlib.blake2b(f"{seed} {key}".encode("utf-8", "backslashreplace"), digest_size=8)
    draw = np.random.default_rng(int.from_bytes(digest.digest(), "big"))
    width, height = box[2] - box[0], box[3] - box[1]
    moves = draw.uniform(-JITTER, JITTER, (draws, 4)) * np.array([width, height] * 2)
    moved = clip_boxes(box + moves, image_hw)
    # A thing of a pixel or two at the edge could lose its box.
    too_thin = (moved[:, 2:] - moved[:, :2] < 1).any(axis=1)
    moved[too_thin] = box
    return as_boxes(moved)


def answer_boxes(
    answerer: BoxMasks,
    image: ImageArray,
    picture: TruePicture,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> list[dict[str, Any]]:
    """The IoUs of an image's things, as plain values; draws: jittered boxes of each, perhaps 0."""
    boxes = []
    for thing in picture.things:
        key = f"{picture.file_name} {thing.id}"
        jittered = jittered_boxes(thing.box, picture.image_hw, key, draws=draws, seed=seed)
        boxes += [thing.box[None], jittered]
    answers = answerer.masks(image, np.concatenate(boxes))
    return [_row(thing, [next(answers) for _ in range(1 + draws)]) for thing in picture.things]


def _row(thing: Thing, answers: Sequence[BoolArray]) -> dict[str, Any]:
    """answers: for the tight box and the jittered ones, each M x H x W."""
    truth, known = thing.truth, thing.known
    ious = [[mask_iou(mask, truth, known) for mask in masks] for masks in answers]
    x0, y0, x1, y1 = thing.box.astype(int)
    filled = np.zeros_like(truth)
    filled[y0:y1, x0:x1] = True
    return {
        "tight": ious[0][0],
        "jittered": _mean([one[0] for one in ious[1:]]),
        "oracle": max(ious[0]),
        "oracle_jittered": _mean([max(one) for one in ious[1:]]),
        "box": mask_iou(filled, truth, known),
        "answer": mask_to_rle(answers[0][0]).counts,
    }


def _mean(ious: Sequence[float]) -> float | None:
    return float(np.mean(ious)) if ious else None


def boxed_things(picture: TruePicture, rows: Sequence[dict[str, Any]]) -> list[BoxedThing]:
    """What ``answer_boxes`` said of an image's things."""
    return [
        BoxedThing(picture, thing, **{**row, "answer": Rle(picture.image_hw, row["answer"])})
        for thing, row in zip(picture.things, rows, strict=True)
    ]


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
