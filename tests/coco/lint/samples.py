"""A small COCO file with everything that is valid in it, and the ways to look at it."""

import copy

import numpy as np

from perception.coco.lint.faults import Findings
from perception.coco.lint.lint import lint
from perception.coco.lint.mend import mend
from perception.ops.masks import mask_to_rle, rle_area, rle_to_box

HEIGHT, WIDTH = 40, 60


def ring(x, y, side):
    """A square with a hole in an image of 40 x 60, as the fields of an annotation."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    mask[y + 2 : y + side - 2, x + 2 : x + side - 2] = False
    rle = mask_to_rle(mask)
    x0, y0, x1, y1 = rle_to_box(rle).tolist()
    return {
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.counts},
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": rle_area(rle),
    }


def make_content():
    """Three images, the last without anything, and four annotations."""
    return {
        "info": {"year": 2024},
        "licenses": [{"id": 1}],
        "images": [
            {"id": n, "file_name": f"d/{n}.jpg", "width": WIDTH, "height": HEIGHT, "mine": n}
            for n in (1, 2, 3)
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **ring(3, 5, 20)},
            {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, **ring(10, 2, 30)},
            {
                "id": 3,
                "image_id": 2,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": [[2.5, 3, 40.5, 3, 40.5, 20], [50, 30, 59, 30, 59, 39, 50, 39]],
                "bbox": [2.5, 3, 56.5, 36],
                "area": 404,
                "score": 0.5,
                "mine": [1, None],
            },
            {"id": 4, "image_id": 2, "category_id": 2, "iscrowd": 0, **ring(20, 8, 12)},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def codes(content):
    """How many faults of each kind a file's content has, without the notes on valid masks."""
    findings = Findings()
    before = copy.deepcopy(content)
    lint(content, findings)
    assert repr(content) == repr(before)
    return {fault.code: fault.count for fault in findings.faults() if fault.code != "rle-not-crowd"}


def mended(content):
    """The mended content and what was mended; asserts what holds for all mending."""
    before = copy.deepcopy(content)
    made, counts = mend(content, Findings())
    assert repr(content) == repr(before)
    again, nothing = mend(made, Findings())
    assert repr(again) == repr(made)
    assert not +nothing
    return made, dict(+counts)
