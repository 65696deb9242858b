"""What a run has found, picture by picture, at any threshold from its floor up.

Labels are made of the stored scores by what labels a detector's boxes in ``pipeline``, so that a
picture's result is what ``perception segment`` gives for it. Where a hand has worked on a picture,
its marks are the result, at every threshold.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perception.annotate.database import RunReader
from perception.annotate.integrity import damaged
from perception.annotate.marks import marks_to_instances
from perception.annotate.records import StoredPicture
from perception.defaults import THRESHOLD
from perception.detector.decode import SAME_CLASS_IOU, Labelling
from perception.duplicates import ANY_CLASS_MASK_IOU, SAME_CLASS_MASK_IOU
from perception.errors import PromptError, RunError
from perception.images import printable
from perception.instances import Instances
from perception.masks import rle_to_box
from perception.model import chosen_info
from perception.phrases import Phrases, normalise
from perception.settling import settle
from perception.types import FloatArray


@dataclass(frozen=True, eq=False)
class Result:
    """A picture of a run and its N instances.

    detected: N x 4, their boxes as the detector gave them, or of marks those of their masks;
    consensus: N, of the model's masks, 1 of marks.
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
    """The instances of every picture that is done or marked, by name; one picture in memory.

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
    all_labels: bool = False,
) -> Generator[Result, None, None]:
    """``results``, with what else is stored of each picture.

    all_labels: a thing is an instance under each label that scores high enough, not under the best
    alone. Raises RunError, before the first picture, where masks weren't made yet that are shown:
    ``missing_masks.make_missing`` makes them.
    """
    settings = run.settings
    check_stored(settings["floor"], settings["floor_nms"], threshold=threshold, nms=nms)
    labelling = Labelling(threshold, nms, all_labels)
    check_masks(run, labelling)
    info = run_info(
        run,
        threshold=threshold,
        nms=nms,
        drop_nested=drop_nested,
        disjoint=disjoint,
        all_labels=all_labels,
    )
    phrases = run.phrases
    # Where no hand has worked, the file is the one that perception segment writes.
    classes, edited = run.classes, run.is_edited
    for picture in run.pictures():
        if picture.revision:
            yield _marked(run, picture, classes, info)
            continue
        found = _result(run, picture, labelling, phrases, classes, info)
        if edited:
            origins = ("model",) * len(found.instances)
            found = replace(found, instances=replace(found.instances, origins=origins))
        yield found


def result_of(run: RunReader, picture: StoredPicture, *, threshold: float = THRESHOLD) -> Result:
    """One picture's part of ``whole_results``."""
    info = run_info(run, threshold=threshold, nms=SAME_CLASS_IOU)
    if picture.revision:
        return _marked(run, picture, run.classes, info)
    labelling = Labelling(threshold)
    return _result(run, picture, labelling, run.phrases, run.classes, info)


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


def check_masks(run: RunReader, labelling: Labelling) -> None:
    """Raises RunError if results with these labels show boxes whose masks weren't made yet."""
    if missing := run.missing_masks(labelling):
        raise RunError(
            f"{printable(str(run.path))}: {missing} are missing; annotate with the same classes "
            f"and --threshold {labelling.threshold:g} makes them, or choose {missing.remedy}"
        )


def run_info(
    run: RunReader,
    *,
    threshold: float,
    nms: float,
    drop_nested: bool = False,
    disjoint: bool = False,
    all_labels: bool = False,
) -> dict[str, Any]:
    """How results are made, as ``Model.info`` has it; the NMS where it isn't the usual one.

    Where hands have worked with further models, these stand in ``marked_with``.
    """
    chosen = chosen_info(
        tile=run.settings.get("tile", 0), drop_nested=drop_nested, disjoint=disjoint
    )
    info = {**run.settings["model"], "text": run.text, "threshold": threshold, **chosen}
    if all_labels:
        info["all_labels"] = True
    if run.marked_with:
        info["marked_with"] = run.marked_with
    return info if math.isclose(nms, SAME_CLASS_IOU) else {**info, "nms": nms}


def _marked(
    run: RunReader, picture: StoredPicture, classes: tuple[str, ...], info: dict[str, Any]
) -> Result:
    marks, known = run.marks(picture.picture), {normalise(name) for name in classes}
    if odd := next((mark.label for mark in marks if normalise(mark.label) not in known), None):
        raise damaged(run.path, f"a mark of {odd!r}, which is no class of it")
    instances = marks_to_instances(
        marks,
        picture.image_hw,
        classes,
        asked=run.asked(picture.picture),
        file_name=picture.name,
        uid=picture.uid,
        info=info,
    )
    return Result(picture, instances, instances.boxes, np.ones(len(instances), np.float32))


def _result(
    run: RunReader,
    picture: StoredPicture,
    labelling: Labelling,
    phrases: Phrases,
    classes: tuple[str, ...],
    info: dict[str, Any],
) -> Result:
    stored = run.instances(picture.picture, phrases)
    found, rows = labelling.label(stored.candidates, phrases)
    if not stored.made[rows].all():  # Without a mask it would count as one that shows nothing.
        raise RunError(f"{printable(picture.name)}: masks weren't made yet that are shown")
    # Empty masks are left out only now: what they displaced stays displaced, as in the pipeline.
    masks = [(n, rle) for n, row in enumerate(rows) if (rle := stored.masks[row]) is not None]
    kept = np.array([n for n, _ in masks], np.int64)
    found, rows = found[kept], rows[kept]
    instances = Instances(
        image_hw=picture.image_hw,
        classes=classes,
        asked=phrases.classes,
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
        same_class_iou=max(labelling.same_class_iou, SAME_CLASS_MASK_IOU),
        any_class_iou=1.0 if labelling.all_labels else ANY_CLASS_MASK_IOU,
        drop_nested=info.get("drop_nested", False),
        disjoint=info.get("disjoint", False),
    )
    return Result(picture, instances, found.boxes[settled], stored.consensus[rows[settled]])
