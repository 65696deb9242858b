"""COCO's rows: a picture and its instances as the entries that they have in a COCO file.

See ``coco`` for the contract.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from perception.boxes import xyxy_to_xywh
from perception.formats.outlines import outlines
from perception.instances import Instances

_DECIMALS_SCORE = 4
_DECIMALS_PIXEL = 2
# Kept where an instance has them.
_NUMBERS = ("scores", "quality", "stability", "margin")


def to_json(value: object) -> str:
    """JSON on one line, other alphabets as they are; ValueError for what JSON has no word for."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def image_row(image_id: int, result: Instances, category_ids: Mapping[str, int]) -> dict[str, Any]:
    """A picture's entry; category_ids: by name, of all classes that were asked for.

    Of segment-everything it says how many candidates fell at which limit.
    """
    height, width = result.image_hw
    return {
        "id": image_id,
        "uid": _image_uid(result),
        "file_name": result.file_name,
        "width": width,
        "height": height,
        "neg_category_ids": [category_ids[name] for name in result.absent],
        **({"dropped": dict(result.dropped)} if result.dropped else {}),
    }


def annotation_rows(
    image_id: int,
    result: Instances,
    category_ids: Mapping[str, int],
    *,
    first_id: int,
    polygons: bool,
    simplify: float = 0.0,
) -> list[dict[str, Any]]:
    """The entries of a picture's instances, numbered from ``first_id``.

    ``parent_id`` is the id of the annotation that one is a part of, where there is one.
    polygons: outlines in place of run lengths; the area is the mask's in both. simplify: see
    ``mask_to_polygons``; area and bbox are then those of what the outlines enclose.
    """
    boxes, areas, image_uid = xyxy_to_xywh(result.boxes), result.areas, _image_uid(result)
    seen: Counter[tuple[str, str]] = Counter()
    annotations = []
    for n, label in enumerate(result.labels):
        bbox = [_rounded(side, _DECIMALS_PIXEL) for side in boxes[n]]
        shape = result.rles[n].counts if result.rles else to_json(bbox)
        seen[label, shape] += 1
        annotation = {
            "id": first_id + n,
            "uid": _uid(image_uid, label, shape, str(seen[label, shape])),
            "image_id": image_id,
            "category_id": category_ids[label],
            "iscrowd": 0,
            "area": _rounded(areas[n], _DECIMALS_PIXEL),
            "bbox": bbox,
        }
        for name in _NUMBERS:
            values = getattr(result, name)
            if values is not None and not np.isnan(values[n]):
                annotation[name.removesuffix("s")] = _rounded(values[n], _DECIMALS_SCORE)
        if result.runner_up is not None and result.runner_up[n] >= 0:
            name = result.classes[result.runner_up[n]]
            annotation["runner_up_category_id"] = category_ids[name]
        if result.parent is not None and result.parent[n] >= 0:
            annotation["parent_id"] = first_id + int(result.parent[n])
        if result.origins is not None:
            annotation["origin"] = result.origins[n]
        annotation |= _places(result, n)
        segmentation = _segmentation(result, n, polygons, simplify)
        annotation["segmentation"] = segmentation
        if simplify and isinstance(segmentation, list) and segmentation:
            annotation |= _drawn(segmentation, result.image_hw)
        annotations.append(annotation)
    return annotations


def _places(result: Instances, n: int) -> dict[str, Any]:
    """Where segment-everything asked, in the fields of SA-1B: its point, its crop as xywh."""
    places: dict[str, Any] = {}
    if result.points is not None:
        places["point_coords"] = [[_rounded(at, _DECIMALS_PIXEL) for at in result.points[n]]]
    if result.crop_boxes is not None:
        (crop,) = xyxy_to_xywh(result.crop_boxes[n : n + 1])
        places["crop_box"] = [_rounded(side, _DECIMALS_PIXEL) for side in crop]
    return places


def _segmentation(
    result: Instances, n: int, polygons: bool, simplify: float
) -> dict[str, Any] | list[Any]:
    if not result.rles:
        return []
    rle = result.rles[n]
    if polygons:
        return [
            [_rounded(side, _DECIMALS_PIXEL) for side in outline.ravel()]
            for outline in outlines(result, n, simplify)
        ]
    return {"size": list(rle.size), "counts": rle.counts}


def _drawn(segmentation: list[Any], image_hw: tuple[int, int]) -> dict[str, Any]:
    """Area and bbox of polygons, as pycocotools draws them."""
    from pycocotools import mask as coco_mask

    drawn = coco_mask.merge(coco_mask.frPyObjects(segmentation, *image_hw))
    bbox = [_rounded(side, _DECIMALS_PIXEL) for side in coco_mask.toBbox(drawn)]
    return {"area": int(coco_mask.area(drawn)), "bbox": bbox}


def _image_uid(result: Instances) -> str:
    """From the picture's name and content: copies in two folders are two pictures."""
    return _uid(result.file_name, result.uid, f"{result.image_hw[0]}x{result.image_hw[1]}")


def _uid(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", errors="backslashreplace")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _rounded(value: float | np.floating[Any], decimals: int) -> float | int:
    """A plain number; whole ones as int, so that a box from a mask reads 12 and not 12.0."""
    number = round(float(value), decimals)
    return int(number) if number.is_integer() else number
