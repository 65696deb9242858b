"""What a run has found, picture by picture, at any threshold from its floor up.

Labels are made of the stored scores by what labels a detector's boxes in ``pipeline``, so that a
picture's result is what ``perception segment`` gives for it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.annotate.database import RunReader
from perception.annotate.records import StoredPicture
from perception.defaults import THRESHOLD
from perception.detector.decode import ANY_CLASS_IOU, SAME_CLASS_IOU, label
from perception.duplicates import SAME_CLASS_MASK_IOU
from perception.errors import PromptError
from perception.instances import Instances
from perception.masks import rle_to_box
from perception.model import chosen_info
from perception.phrases import Phrases
from perception.settling import settle
from perception.types import FloatArray


@dataclass(frozen=True, eq=False)
class Result:
    """A picture of a run and its N instances.

    detected: N x 4, their boxes as the detector gave them; consensus: N, of the model's masks.
    """

    picture: StoredPicture
    instances: Instances
    detected: FloatArray
    consensus: FloatArray


def results(
    run: RunReader,
    *,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
) -> Generator[Instances, None, None]:
    """The instances of every picture that is done, in order of name; one picture in memory.

    threshold: the least score; nms: of boxes of one class whose IoU is above this the best is
    kept; drop_nested, disjoint: as in ``settling.settle``. Raises PromptError for less than the run
    has stored.
    """
    whole = whole_results(
        run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint
    )
    with closing(whole) as found:
        for one in found:
            yield one.instances


def whole_results(
    run: RunReader,
    *,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
) -> Generator[Result, None, None]:
    """``results``, with what else is stored of each picture."""
    settings = run.settings
    check_stored(settings["floor"], settings["floor_nms"], threshold=threshold, nms=nms)
    info = run_info(run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint)
    phrases = run.phrases
    for picture in run.pictures():
        yield _result(run, picture, phrases, info)


def check_stored(floor: float, floor_nms: float, *, threshold: float, nms: float) -> None:
    """Raises PromptError for a threshold or NMS beyond what a run with these floors stores."""
    if not floor <= threshold <= 1:
        raise PromptError(
            f"a threshold of {threshold:g}: this run stores scores from {floor:g} to 1; "
            "choose one of these, or annotate again with a lower --floor and --overwrite"
        )
    if not 0 <= nms <= floor_nms:
        raise PromptError(
            f"an NMS of {nms:g}: this run stores boxes that overlap up to {floor_nms:g}; "
            "choose less, or annotate again with a higher --floor-nms and --overwrite"
        )


def run_info(
    run: RunReader,
    *,
    threshold: float,
    nms: float,
    drop_nested: bool = False,
    disjoint: bool = False,
) -> dict[str, Any]:
    """How results are made, as ``Model.info`` has it; the NMS where it isn't the usual one."""
    chosen = chosen_info(
        tile=run.settings.get("tile", 0), drop_nested=drop_nested, disjoint=disjoint
    )
    info = {**run.settings["model"], "text": run.text, "threshold": threshold, **chosen}
    return info if math.isclose(nms, SAME_CLASS_IOU) else {**info, "nms": nms}


def _result(
    run: RunReader, picture: StoredPicture, phrases: Phrases, info: dict[str, Any]
) -> Result:
    stored = run.instances(picture.picture, phrases)
    nms = info.get("nms", SAME_CLASS_IOU)
    found, rows = label(
        stored.candidates,
        phrases,
        threshold=info["threshold"],
        same_class_iou=nms,
        any_class_iou=max(nms, ANY_CLASS_IOU),
    )
    # Empty masks are left out only now: what they displaced stays displaced, as in the pipeline.
    masks = [(n, rle) for n, row in enumerate(rows) if (rle := stored.masks[row]) is not None]
    kept = np.array([n for n, _ in masks], np.int64)
    found, rows = found[kept], rows[kept]
    instances = Instances(
        image_hw=picture.image_hw,
        classes=phrases.classes,
        boxes=np.array([rle_to_box(rle) for _, rle in masks], np.float32),
        scores=found.scores,
        class_ids=found.class_ids,
        rles=tuple(rle for _, rle in masks),
        quality=stored.quality[rows],
        stability=stored.stability[rows],
        runner_up=found.runner_up,
        margin=found.margin,
        prompt_ids=found.phrase_ids,
        file_name=picture.name,
        uid=picture.uid,
        info=info,
    )
    instances, settled = settle(
        instances,
        same_class_iou=max(nms, SAME_CLASS_MASK_IOU),
        drop_nested=info.get("drop_nested", False),
        disjoint=info.get("disjoint", False),
    )
    return Result(picture, instances, found.boxes[settled], stored.consensus[rows[settled]])
