"""Pictures with things whose masks are known, on disk, in both forms that are read."""

from __future__ import annotations

import json

import numpy as np
from fakes import drawing
from PIL import Image

from perception.evaluate.synthetic import StubSegmenter
from perception.models.missing import MissingDetector
from perception.models.model import Model
from perception.ops.masks import mask_to_rle
from perception.predictor.whole import WholeImagePredictor

HW = (96, 128)
BOXES = {"red": (8, 8, 40, 40), "blue": (64, 32, 112, 80)}


def part(box, hw=HW):
    x0, y0, x1, y1 = box
    mask = np.zeros(hw, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def rle(mask):
    code = mask_to_rle(mask)
    return {"size": list(code.size), "counts": code.counts}


def coco_file(folder, pictures=("a.png", "b.png"), **first):
    """Two images, each with a red square of 32 and a blue one of 48; returns (file, images)."""
    images = folder / "images"
    images.mkdir(parents=True)
    annotations = []
    for image_id, name in enumerate(pictures, 1):
        Image.fromarray(drawing(*HW)).save(images / name)
        for category, box in enumerate(BOXES.values(), 1):
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "iscrowd": 0,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": rle(part(box)),
                }
            )
    annotations[0] |= first
    content = {
        "images": [
            {"id": n, "file_name": name, "height": HW[0], "width": HW[1]}
            for n, name in enumerate(pictures, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(BOXES, 1)],
    }
    file = folder / "truth.json"
    file.write_text(json.dumps(content))
    return file, images


def grabcut_folder(folder, names=("one", "two")):
    """A red square of 32, with one unknown pixel all around it."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    x0, y0, x1, y1 = BOXES["red"]
    levels = np.zeros(HW, np.uint8)
    levels[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = 128
    levels[y0:y1, x0:x1] = 255
    for name in names:
        things = [("red", BOXES["red"])]
        Image.fromarray(drawing(*HW, things=things)).save(folder / "images" / f"{name}.png")
        Image.fromarray(levels).save(folder / "masks" / f"{name}.png")
    return folder


def stub_model(tell):
    """A model that answers what it is told: prompt -> four masks 4 x H x W, or one of them."""

    def four(prompt):
        masks = tell(prompt)
        return masks if masks.ndim == 3 else np.repeat(masks[None], 4, axis=0)

    return Model(MissingDetector("told"), WholeImagePredictor(StubSegmenter(four)))


def thing_under(prompt):
    """The mask of the thing that a prompt is in."""
    x = prompt.points[0, 0] if len(prompt.points) else prompt.boxes[0, ::2].mean()
    return part(min(BOXES.values(), key=lambda box: abs(box[0] + box[2] - 2 * x)))
