"""Precision and recall by class, IoU, size and number of detections, as pycocotools has them.

pycocotools matches and accumulates; here its inputs are made, and what it leaves in arrays is read.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perception.evaluate.ground_truth import Instance, Truth
from perception.evaluate.predictions import Found
from perception.ops.masks import rle_area
from perception.types import BoolArray, Rle

Kind = Literal["box", "mask"]
Sizes = Literal["all", "small", "medium", "large"]

IOUS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
"""COCO's IoU thresholds."""

RECALLS = tuple(n / 100 for n in range(101))
"""COCO's recall thresholds: where precision is read."""

SIZES: tuple[Sizes, ...] = ("all", "small", "medium", "large")

NOTHING = -1.0
"""What the arrays have where there is no truth."""


@dataclass(frozen=True, eq=False)
class Precision:
    """What was accumulated, with T IoUs, R recalls, K categories, A sizes, M numbers of answers.

    precision: T x R x K x A, with the largest number of answers; recall: T x K x A x M; both -1
    where there is no truth; categories: K ids, those with truth; most: M, rising; counts: K
    instances of the truth without crowds.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    categories: tuple[int, ...]
    most: tuple[int, ...]
    counts: tuple[int, ...]

    def ap(
        self, *, iou: float | None = None, size: Sizes = "all", only: Collection[int] | None = None
    ) -> float | None:
        """Average precision over classes and recalls; None where there is no truth.

        iou: one of ``IOUS`` (default: the mean over all); only: ids of the categories that count.
        """
        some = self.precision[_ious(iou)][:, :, self._columns(only), SIZES.index(size)]
        return _mean(some)

    def ar(
        self, *, most: int | None = None, size: Sizes = "all", only: Collection[int] | None = None
    ) -> float | None:
        """Average recall over classes and IoUs with at most so many answers (default: all)."""
        m = len(self.most) - 1 if most is None else self.most.index(most)
        return _mean(self.recall[:, self._columns(only), SIZES.index(size), m])

    def curve(self, iou: float) -> NDArray[np.float64] | None:
        """Precision at each of ``RECALLS``, R, as the mean over classes; None without truth."""
        some = self.precision[IOUS.index(iou), :, :, 0]  # R x K
        there = some[0] > NOTHING
        return some[:, there].mean(axis=1) if there.any() else None

    def _columns(self, only: Collection[int] | None) -> list[int]:
        return [n for n, key in enumerate(self.categories) if only is None or key in only]


def accumulate(
    truth: Truth,
    found: Sequence[Found],
    kind: Kind,
    *,
    most: Sequence[int] = (1, 10, 100),
    open_pairs: Collection[tuple[int, int]] = (),
) -> Precision:
    """Matches what was found with the truth, and accumulates.

    most: answers for one category in one image, best first, that count; open_pairs: image and
    category ids where what isn't matched isn't held against anyone, as not all is marked there.
    """
    from pycocotools.cocoeval import COCOeval

    categories = sorted({one.category for one in truth.instances})
    with redirect_stdout(io.StringIO()):  # It prints how far it is.
        evaluation = COCOeval(
            _index(truth, [_true_row(one) for one in truth.instances]),
            _index(truth, [_found_row(one, kind) for one in found if one.category in categories]),
            "bbox" if kind == "box" else "segm",
        )
        evaluation.params.catIds = categories
        evaluation.params.maxDets = list(most)
        evaluation.evaluate()
        for entry in evaluation.evalImgs:
            if entry is not None and (entry["image_id"], entry["category_id"]) in open_pairs:
                entry["dtIgnore"] |= entry["dtMatches"] == 0
        evaluation.accumulate()
    counts = Counter(one.category for one in truth.instances if not one.crowd)
    return Precision(
        precision=evaluation.eval["precision"][..., -1],
        recall=evaluation.eval["recall"],
        categories=tuple(categories),
        most=tuple(sorted(most)),
        counts=tuple(counts[key] for key in categories),
    )


def _ious(iou: float | None) -> list[int]:
    return list(range(len(IOUS))) if iou is None else [IOUS.index(iou)]


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[values > NOTHING]
    return float(there.mean()) if there.size else None


def _index(truth: Truth, rows: list[dict[str, Any]]) -> Any:
    """pycocotools' index of some annotations, numbered from 1: to it, 0 is no match."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": one.id, "height": one.image_hw[0], "width": one.image_hw[1]}
            for one in truth.pictures
        ],
        "categories": [{"id": one.id, "name": one.name} for one in truth.categories],
        "annotations": [row | {"id": n} for n, row in enumerate(rows, start=1)],
    }
    coco.createIndex()
    return coco


def _true_row(one: Instance) -> dict[str, Any]:
    return {
        "image_id": one.picture,
        "category_id": one.category,
        "iscrowd": int(one.crowd),
        "bbox": list(one.box),
        "area": one.area,
        **_code(one.mask),
    }


def _found_row(one: Found, kind: Kind) -> dict[str, Any]:
    # Small or large by what is measured: a box by its own area, a mask by its pixels. Likewise the
    # score.
    area = one.box[2] * one.box[3] if kind == "box" or one.mask is None else rle_area(one.mask)
    score = one.score if kind == "box" or one.mask_score is None else one.mask_score
    return {
        "image_id": one.picture,
        "category_id": one.category,
        "iscrowd": 0,
        "score": score,
        "bbox": list(one.box),
        "area": float(area),
        **_code(one.mask),
    }


def _code(mask: Rle | None) -> dict[str, Any]:
    if mask is None:
        return {}
    return {"segmentation": {"size": list(mask.size), "counts": mask.counts.encode("ascii")}}


def mask_iou(answer: BoolArray, truth: BoolArray, known: BoolArray | None = None) -> float:
    """Intersection over union of two masks H x W; 1 where both are empty.

    known: the pixels that count, H x W (default: all); the others are left out of both.
    """
    if known is not None:
        answer, truth = answer & known, truth & known
    union = int(np.count_nonzero(answer | truth))
    return int(np.count_nonzero(answer & truth)) / union if union else 1.0


def error_masks(
    answer: BoolArray, truth: BoolArray, known: BoolArray | None = None
) -> tuple[BoolArray, BoolArray]:
    """What an answer misses and what it has in excess, both H x W; known as in ``mask_iou``."""
    missed, excess = truth & ~answer, answer & ~truth
    return (missed, excess) if known is None else (missed & known, excess & known)


def pair_ious(found: Sequence[Found], true: Sequence[Instance], kind: Kind) -> NDArray[np.float64]:
    """IoU of N found and M true instances of one image, N x M in 0..1.

    With a crowd it is the part of what was found that lies in it, as COCO has it.
    """
    from pycocotools import mask as coco_mask

    if not found or not true:
        return np.zeros((len(found), len(true)))
    shapes = [[_shape(one, kind) for one in some] for some in (found, true)]
    ious = coco_mask.iou(*shapes, [int(one.crowd) for one in true])
    # Two empty masks: nothing over nothing.
    return np.nan_to_num(np.asarray(ious, np.float64).reshape(len(found), len(true)))


def _shape(one: Found | Instance, kind: Kind) -> Any:
    if kind == "box":
        return list(one.box)
    if one.mask is None:
        raise ValueError("mask overlap needs masks on both sides")
    return {"size": list(one.mask.size), "counts": one.mask.counts.encode("ascii")}
