"""Measures text to masks on scenes that no training has seen.

    python tools/measure_scenes.py [FOLDER] [--model nano]

FOLDER holds pictures and `truth.json` as tools/make_scenes.py draws them; default: the sample that
travels with the tests. Of each scene everything that is there and 20 absent things are asked in one
prompt. Precision and recall are those of labelled boxes at IoU 0.5 and the default threshold; AP is
that of COCO over all answers above 0.05, of all phrases together, masks ranked by their score times
their quality; "absent" is how many of the absent phrases were answered with a box.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from perception.instances import Instances
from perception.models.load import load
from perception.models.model import Model
from perception.ops.boxes import box_iou
from perception.ops.masks import rle_to_box
from perception.types import FloatArray, Rle

SAMPLE = Path(__file__).resolve().parent.parent / "tests" / "data" / "scenes"
FLOOR = 0.05


@dataclass(frozen=True)
class Figures:
    """What the README quotes: shares in 0..1. instances: how many things there are."""

    scenes: int
    instances: int
    precision: float
    recall: float
    box_ap50: float
    mask_ap50: float
    mask_ap: float
    absent: float


def load_truth(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The entries of each set; each thing with its phrase, its box xyxy and its mask as RLE."""
    truth: dict[str, list[dict[str, Any]]] = json.loads((folder / "truth.json").read_text("utf-8"))
    for entry in (entry for entries in truth.values() for entry in entries):
        for thing in entry["things"]:
            rle = Rle(tuple(entry["image_hw"]), thing["rle"])
            thing["box"] = rle_to_box(rle).tolist()
    return truth


def measure(model: Model, folder: Path, entries: list[dict[str, Any]], threshold: float) -> Figures:
    """Runs the model over the scenes and compares with the truth."""
    answers = [_answer(model, folder, entry) for entry in entries]
    right = wrong = missed = false_alarms = 0
    for entry, found in zip(entries, answers, strict=True):
        hits, extra, lost = match(entry, found.boxes, found.scores, found.labels, threshold)
        right, wrong, missed = right + hits, wrong + extra, missed + lost
        named = {found.labels[k] for k in np.flatnonzero(found.scores >= threshold)}
        false_alarms += len(named & set(entry["absent"]))
    box_ap50, _ = _average_precision(entries, answers, "bbox")
    mask_ap50, mask_ap = _average_precision(entries, answers, "segm")
    return Figures(
        len(entries),
        right + missed,
        right / max(1, right + wrong),
        right / max(1, right + missed),
        box_ap50,
        mask_ap50,
        mask_ap,
        false_alarms / max(1, sum(len(entry["absent"]) for entry in entries)),
    )


def _answer(model: Model, folder: Path, entry: dict[str, Any]) -> Instances:
    phrases = dict.fromkeys([*(thing["phrase"] for thing in entry["things"]), *entry["absent"]])
    return model(folder / entry["file_name"], list(phrases), threshold=FLOOR)


def match(
    entry: dict[str, Any],
    boxes: FloatArray,
    scores: FloatArray,
    labels: Sequence[str],
    threshold: float,
) -> tuple[int, int, int]:
    """Right, wrong and missed boxes; each thing is found at most once, best scores first.

    boxes: N x 4 xyxy, scores: N, labels: N, sorted by falling score.
    """
    free = set(range(len(entry["things"])))
    right = wrong = 0
    for k in np.flatnonzero(scores >= threshold):
        mine = [t for t in sorted(free) if entry["things"][t]["phrase"] == labels[k]]
        overlap = box_iou(boxes[k][None], [entry["things"][t]["box"] for t in mine])[0]
        if overlap.max(initial=0.0) >= 0.5:
            free.remove(mine[int(overlap.argmax())])
            right += 1
        else:
            wrong += 1
    return right, wrong, len(free)


def _average_precision(
    entries: list[dict[str, Any]], answers: list[Instances], kind: str
) -> tuple[float, float]:
    """AP50 and AP. Every pair of scene and phrase is an image of its own, so that labels count."""
    images: dict[tuple[int, str], dict[str, int]] = {}

    def image_of(scene: int, phrase: str) -> int:
        height, width = entries[scene]["image_hw"]
        image = {"id": len(images) + 1, "height": height, "width": width}
        return images.setdefault((scene, phrase), image)["id"]

    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for scene, (entry, found) in enumerate(zip(entries, answers, strict=True)):
        hw = list(entry["image_hw"])
        scores = found.scores if kind == "bbox" else found.mask_scores
        for thing in entry["things"]:
            image = image_of(scene, thing["phrase"])
            mask = {"size": hw, "counts": thing["rle"]}
            truth.append(_annotation(image, thing["box"], mask) | {"id": len(truth) + 1})
        for k in range(len(found)):
            image = image_of(scene, found.labels[k])
            mask = {"size": hw, "counts": found.rles[k].counts}
            score = {"score": float(scores[k])}
            results.append(_annotation(image, found.boxes[k].tolist(), mask) | score)
    return _coco_ap(list(images.values()), truth, results, kind)


def _coco_ap(
    images: list[dict[str, int]],
    truth: list[dict[str, Any]],
    results: list[dict[str, Any]],
    kind: str,
) -> tuple[float, float]:
    if not results:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


def _annotation(image: int, box: list[float], mask: dict[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {
        "image_id": image,
        "category_id": 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": mask,
    }


def table(figures: dict[str, Figures]) -> str:
    """Markdown, one row a set."""
    rows = [
        "| scenes | things | precision | recall | box AP50 | mask AP50 | mask AP | absent |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in figures.items():
        shares = (f.precision, f.recall, f.box_ap50, f.mask_ap50, f.mask_ap)
        cells = " | ".join(f"{share:.3f}" for share in shares)
        rows.append(f"| {name}, {f.scenes} | {f.instances} | {cells} | {f.absent:.2%} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--threshold", type=float, default=0.3)
    arguments = parser.parse_args()
    truth = load_truth(arguments.folder)
    model = load(arguments.model)
    figures = {
        name: measure(model, arguments.folder, entries, arguments.threshold)
        for name, entries in truth.items()
    }
    print(table(figures))


if __name__ == "__main__":
    main()
