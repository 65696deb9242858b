"""Finds masks for photographs of which boxes are known, to teach the segmenter with.

    python tools/mask_boxes.py DIR/photos_permissive --out runs/masked.json [--least 0.85]

Self-training (Xie et al. 2020, "Self-training with Noisy Student"): what the model that is shipped
answers, and answers better than it will alone, as each box is looked at from several distances and
mirrored, teaches the next one. A box says whether an answer is worth it: only a mask that the box
fits, and of which all looks are in agreement, is kept. Writes the kept ones as COCO's instances;
train_segmenter.py reads them (--masked).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from photos import MIN_SIDE
from pycocotools.coco import COCO
from tqdm import tqdm

from perception import load
from perception.imaging.read import read_image
from perception.ops.boxes import box_iou
from perception.ops.masks import mask_to_box, mask_to_rle, sigmoid
from perception.ops.windows import Tile
from perception.predictor.crop import ImageCrops
from perception.predictor.zoom import zoom_window
from perception.segmenters.protocol import Segmenter
from perception.types import FloatArray, ImageArray, Prompt

WIDER = 0.9, 1.0, 1.25
"""How many times as wide as the product's own view of a box each of these is."""


def looks(segmenter: Segmenter, image: ImageArray, box: FloatArray) -> FloatArray:
    """The chances of each pixel of a picture H x W x 3 to be in the thing of a box 4 (xyxy).

    Returns L x H x W: of each of L looks, in 0..1.
    """
    width = image.shape[1]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    box_there = np.array([width - box[2], box[1], width - box[0], box[3]], np.float32)
    found = []
    for wider in WIDER:
        found.append(_look(segmenter, image, box, wider))
        found.append(_look(segmenter, mirrored, box_there, wider)[:, ::-1])
    return np.stack(found)


def _look(segmenter: Segmenter, image: ImageArray, box: FloatArray, wider: float) -> FloatArray:
    """The chances, H x W, as one view of the box shows them; beyond it there is nothing."""
    height, width = image.shape[:2]
    view = _widened(zoom_window(box, (height, width)), wider)
    crop = ImageCrops(segmenter, image, refined=True).crop(view)
    candidates = crop.decode(Prompt(boxes=box[None]))
    logits = crop.refine(candidates.logits[0, candidates.best()[:1]])[0]
    size = view.x1 - view.x0, view.y1 - view.y0
    chances = cv2.resize(sigmoid(logits), size, interpolation=cv2.INTER_LINEAR)
    return view.pasted(chances, (height, width))


def _widened(view: Tile, wider: float) -> Tile:
    more = round((view.x1 - view.x0) * (wider - 1) / 2)
    return Tile(view.x0 - more, view.y0 - more, view.x1 + more, view.y1 + more)


def agreed(chances: FloatArray, box: FloatArray) -> tuple[np.ndarray, float, float]:
    """What L looks, L x H x W, say together: a mask H x W of bool that stays in the box, 4 (xyxy).

    With the IoU of its own box with that box, and the mean IoU of it with what each look says.
    """
    x0, y0 = (int(n) for n in np.floor(box[:2]))
    x1, y1 = (int(n) for n in np.ceil(box[2:]))
    inside = np.zeros(chances.shape[1:], bool)
    inside[y0:y1, x0:x1] = True
    mask = (chances.mean(0) > 0.5) & inside
    if not mask.any():
        return mask, 0.0, 0.0
    fit = float(box_iou(mask_to_box(mask)[None].astype(np.float32), box[None])[0, 0])
    each = [(mask & other).sum() / max((mask | other).sum(), 1) for other in chances > 0.5]
    return mask, fit, float(np.mean(each))


def answered(
    segmenter: Segmenter, image: ImageArray, annotation: dict[str, Any], least: float, alike: float
) -> dict[str, Any] | None:
    """COCO's annotation of a box with the mask that is found for it; None: it isn't good enough.

    least: the IoU of the mask's box with the box; alike: of the mask with each look, on average.
    """
    x, y, width, height = annotation["bbox"]
    if min(width, height) < MIN_SIDE:
        return None
    # Whole numbers, cut off at the source: the box ends somewhere in the next pixel.
    limits = image.shape[1::-1] * 2
    box = np.float32(np.clip([x, y, x + width + 1, y + height + 1], 0, limits))
    mask, fit, agreement = agreed(looks(segmenter, image, box), box)
    if fit < least or agreement < alike:
        return None
    rle = mask_to_rle(mask)
    return annotation | {
        "segmentation": {"size": list(rle.size), "counts": rle.counts},
        "area": int(mask.sum()),
        "fit": round(fit, 3),
        "agreement": round(agreement, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="with images/ and boxes.json")
    parser.add_argument("--out", type=Path, required=True, help="file of COCO's instances")
    parser.add_argument(
        "--least", type=float, default=0.85, help="IoU of a mask's box with its box"
    )
    parser.add_argument("--agreement", type=float, default=0.85, help="least IoU of the looks")
    arguments = parser.parse_args()
    segmenter = load("nano").segmenter
    coco = COCO(str(arguments.folder / "boxes.json"))
    kept = []
    for index, entry in tqdm(coco.imgs.items()):
        image = read_image(arguments.folder / "images" / entry["file_name"])
        for annotation in coco.imgToAnns[index]:
            found = answered(segmenter, image, annotation, arguments.least, arguments.agreement)
            if found:
                kept.append(found)
    written = {key: coco.dataset[key] for key in ("images", "categories")} | {"annotations": kept}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(written), encoding="utf-8")
    print(f"{len(kept)} of {len(coco.anns)} boxes have a mask now: {arguments.out}")


if __name__ == "__main__":
    main()
