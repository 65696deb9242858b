"""COCO: instances of one or many pictures as one JSON file.

The contract: area from the mask; bbox tight and half-open; iscrowd 0; integer ids in order of path
and a ``uid`` derived from content; category ids from 1 in class order; scores kept; a picture with
nothing found is listed, and the classes that were asked for and not found stand in its
``neg_category_ids``; no time stamp; floats rounded. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perception.boxes import xyxy_to_xywh
from perception.formats.atomic import whole_file
from perception.instances import Instances

_DECIMALS_SCORE = 4
_DECIMALS_PIXEL = 2
# Kept beside the score where an instance has them.
_EXTRA_SCORES = ("quality", "stability", "margin")


def to_coco(
    results: Sequence[Instances], *, info: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The content of one COCO file, as plain dicts and lists, for the results of many pictures.

    info: how the results were made (default: what they say themselves). Raises ValueError if two
    pictures have one file name, or if results were made in different ways (another model or
    threshold), which one file can't tell apart.
    """
    ordered = sorted(results, key=lambda result: result.file_name)
    _check_names(ordered)
    category_ids: dict[str, int] = {}
    for result in ordered:
        for name in result.classes:
            category_ids.setdefault(name, len(category_ids) + 1)
    annotations: list[dict[str, Any]] = []
    images = []
    for image_id, result in enumerate(ordered, start=1):
        images.append(_image(image_id, result, category_ids))
        annotations += _annotations(image_id, result, category_ids, first_id=len(annotations) + 1)
    return {
        "info": _shared_info(ordered) if info is None else dict(info),
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for name, n in category_ids.items()],
    }


def write_coco(content: Mapping[str, Any], path: Path) -> None:
    """Writes a COCO file's content; OutputError if that can't be done."""
    with whole_file(path) as file:
        file.write(coco_bytes(content))


def coco_bytes(content: Mapping[str, Any]) -> bytes:
    """A COCO file's content as JSON in UTF-8, one picture or annotation a line."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {_json(row)}" for row in value)
            parts.append(f"{_json(key)}: [\n{rows}\n]" if rows else f"{_json(key)}: []")
        else:
            parts.append(f"{_json(key)}: {_json(value)}")
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    # A file name that isn't text holds lone surrogates; as \udcff they are valid JSON.
    return text.encode("utf-8", errors="backslashreplace")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_names(ordered: Sequence[Instances]) -> None:
    counts = Counter(result.file_name for result in ordered)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"{counts[twice[0]]} pictures are called {twice[0]!r}: "
            "give each its own file_name (dataclasses.replace)"
        )


def _shared_info(ordered: Sequence[Instances]) -> dict[str, Any]:
    infos = [dict(result.info) for result in ordered]
    if any(info != infos[0] for info in infos):
        raise ValueError("the results were made in different ways: write a file for each way")
    return infos[0] if infos else {}


def _image(image_id: int, result: Instances, category_ids: Mapping[str, int]) -> dict[str, Any]:
    height, width = result.image_hw
    found = set(result.labels)
    return {
        "id": image_id,
        "uid": _image_uid(result),
        "file_name": result.file_name,
        "width": width,
        "height": height,
        "neg_category_ids": [category_ids[name] for name in result.classes if name not in found],
    }


def _annotations(
    image_id: int, result: Instances, category_ids: Mapping[str, int], *, first_id: int
) -> list[dict[str, Any]]:
    boxes, areas, image_uid = xyxy_to_xywh(result.boxes), result.areas, _image_uid(result)
    seen: Counter[tuple[str, str]] = Counter()
    annotations = []
    for n, label in enumerate(result.labels):
        bbox = [_rounded(side, _DECIMALS_PIXEL) for side in boxes[n]]
        shape = result.rles[n].counts if result.rles else _json(bbox)
        seen[label, shape] += 1
        annotation = {
            "id": first_id + n,
            "uid": _uid(image_uid, label, shape, str(seen[label, shape])),
            "image_id": image_id,
            "category_id": category_ids[label],
            "iscrowd": 0,
            "area": _rounded(areas[n], _DECIMALS_PIXEL),
            "bbox": bbox,
            "score": _rounded(result.scores[n], _DECIMALS_SCORE),
        }
        for name in _EXTRA_SCORES:
            values = getattr(result, name)
            if values is not None:
                annotation[name] = _rounded(values[n], _DECIMALS_SCORE)
        if result.runner_up is not None and result.runner_up[n] >= 0:
            name = result.classes[result.runner_up[n]]
            annotation["runner_up_category_id"] = category_ids[name]
        annotation |= _origin(result, n)
        annotation["segmentation"] = _segmentation(result, n)
        annotations.append(annotation)
    return annotations


def _origin(result: Instances, n: int) -> dict[str, Any]:
    """Where segment-everything asked, in the fields of SA-1B: its point, its crop as xywh."""
    origin: dict[str, Any] = {}
    if result.points is not None:
        origin["point_coords"] = [[_rounded(at, _DECIMALS_PIXEL) for at in result.points[n]]]
    if result.crop_boxes is not None:
        (crop,) = xyxy_to_xywh(result.crop_boxes[n : n + 1])
        origin["crop_box"] = [_rounded(side, _DECIMALS_PIXEL) for side in crop]
    return origin


def _segmentation(result: Instances, n: int) -> dict[str, Any] | list[Any]:
    if not result.rles:
        return []
    rle = result.rles[n]
    return {"size": list(rle.size), "counts": rle.counts}


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
