"""An instance as a review shows it: all that its picture, words and place in lists need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.annotate.results import Result
from perception.boxes import box_area, clip_boxes
from perception.instances import Instances
from perception.types import FloatArray, Rle


@dataclass(frozen=True)
class Shown:
    """One instance.

    name, image_hw, file_bytes: its picture's, the last None where it isn't known; box: xyxy, tight
    around the mask; score: None where a hand made it; runner_up: class id, -1 for none; margin:
    score less the runner-up's; quality, stability: the segmenter's; consensus: of its masks for the
    box; agreement: IoU of ``box`` and the detector's, cut at the picture's edges.
    """

    name: str
    image_hw: tuple[int, int]
    file_bytes: int | None
    box: tuple[int, int, int, int]
    rle: Rle
    class_id: int
    score: float | None
    runner_up: int
    margin: float
    quality: float
    stability: float
    consensus: float
    agreement: float


def shown_instances(result: Result, *, threshold: float) -> Iterator[Shown]:
    """The instances of a picture of a run that score at least ``threshold``, or all its marks."""
    found, picture = result.instances, result.picture
    runner_up, margin = _stored(found, "runner_up", -1), _stored(found, "margin", 1)
    quality, stability = _stored(found, "quality", 1), _stored(found, "stability", 1)
    agreement = agreements(found.boxes, clip_boxes(result.detected, picture.image_hw))
    for n in np.flatnonzero((found.scores >= threshold) | (picture.revision > 0)).tolist():
        x0, y0, x1, y1 = found.boxes[n].astype(int).tolist()
        yield Shown(
            name=picture.name,
            image_hw=picture.image_hw,
            file_bytes=picture.file.bytes if picture.file else None,
            box=(x0, y0, x1, y1),
            rle=found.rles[n],
            class_id=int(found.class_ids[n]),
            score=None if np.isnan(found.scores[n]) else float(found.scores[n]),
            runner_up=int(runner_up[n]),
            margin=float(margin[n]),
            quality=float(quality[n]),
            stability=float(stability[n]),
            consensus=float(result.consensus[n]),
            agreement=float(agreement[n]),
        )


def _stored(found: Instances, name: str, missing: float) -> NDArray[Any]:
    """Numbers of instances, N; missing: in the place of those that no model gave."""
    values = getattr(found, name)
    if values is None:
        return np.full(len(found), missing)
    known: NDArray[Any] = np.where(np.isnan(values), missing, values)
    return known


def agreements(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Intersection over union of each box N x 4 with the other of its row, N."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:], others[:, 2:])
    shared = box_area(np.concatenate([low, high], axis=1))
    union = box_area(boxes) + box_area(others) - shared
    ious: FloatArray = shared / np.maximum(union, np.finfo(np.float32).tiny)
    return ious
