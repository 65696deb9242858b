"""Instances made of rectangles, for the tests of what comes after the models."""

import numpy as np

from perception.instances import Instances
from perception.ops.masks import mask_to_rle

HW = (60, 80)


def rectangle(x0, y0, x1, y1, image_hw=HW):
    """A mask H x W that is one rectangle."""
    mask = np.zeros(image_hw, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def things(*rows, classes=("a", "b", "c"), **more):
    """Instances with rectangles as masks: a row is a class id, a score and a box."""
    class_ids, scores, boxes = ([row[n] for row in rows] for n in range(3))
    return Instances(
        image_hw=HW,
        classes=classes,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32),
        class_ids=np.array(class_ids, np.int64),
        rles=tuple(mask_to_rle(rectangle(*box)) for box in boxes),
        **more,
    )
