"""COCO files for tests, of things that are boxes."""

import json

import numpy as np
import pytest

from perception.ops.masks import window_to_rle

HW = (100, 120)


def row(picture, category, box, *, score=None, mask=True, **more):
    """An annotation; box: x, y, width, height."""
    content = {"image_id": picture, "category_id": category, "bbox": list(box), **more}
    if mask:
        x, y, width, height = map(int, box)
        rle = window_to_rle(np.ones((height, width), bool), (x, y), HW)
        content["segmentation"] = {"size": list(HW), "counts": rle.counts}
        content["area"] = width * height
    if score is not None:
        content["score"] = score
    return content


def coco(annotations, *, names=("cat", "dog"), pictures=2, images=None):
    """A COCO file's content; images: what each image has beside its size and name."""
    extra = images or {}
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "height": HW[0], "width": HW[1], **extra.get(n, {})}
            for n in range(1, pictures + 1)
        ],
        "categories": [
            {"id": n, **(name if isinstance(name, dict) else {"name": name})}
            for n, name in enumerate(names, start=1)
        ],
        "annotations": [
            {"id": n, "iscrowd": 0, **annotation} for n, annotation in enumerate(annotations)
        ],
    }


def about(*figures):
    """pycocotools adds a little to each denominator, so that 1 is a little less."""
    values = [pytest.approx(figure, abs=1e-9) for figure in figures]
    return values if len(values) > 1 else values[0]


def write(path, content):
    path.write_text(json.dumps(content))
    return path
