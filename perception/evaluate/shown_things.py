"""Masks as instances, so that truth and answers are drawn alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.boxes import as_boxes
from perception.evaluate.things import Thing
from perception.instances import Instances
from perception.masks import rle_to_box
from perception.types import Rle


def as_instances(
    rles: Sequence[Rle], labels: Sequence[str], scores: Sequence[float] | None = None
) -> Instances:
    """N masks, at least one, of one picture; labels, scores: N (default: no scores)."""
    classes = tuple(dict.fromkeys(labels))
    return Instances(
        image_hw=rles[0].size,
        classes=classes,
        boxes=as_boxes([rle_to_box(rle) for rle in rles]),
        scores=np.array([np.nan] * len(rles) if scores is None else scores, np.float32),
        class_ids=np.array([classes.index(label) for label in labels], np.int64),
        rles=tuple(rles),
    )


def truth_instances(thing: Thing) -> Instances:
    """A thing, and what is unknown around it."""
    if thing.unknown is None:
        return as_instances([thing.inside], [thing.label])
    return as_instances([thing.inside, thing.unknown], [thing.label, "unknown"])
