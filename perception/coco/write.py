"""COCO: instances of one or many images as one JSON file.

The contract: area from the mask; bbox tight and half-open; iscrowd 0; integer ids in order of path
and a ``uid`` derived from content; category ids from 1 in class order; scores kept; an image with
nothing found is listed, and the classes that were asked for and not found stand in its
``neg_category_ids``; a part has the id of its whole as ``parent_id``; whoever made an annotation,
where that is known, stands in its ``origin`` (model, hand or corrected), and what a hand made has
no score; no time stamp; floats rounded. The same input gives the same bytes.

See ``coco`` for the contract.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from math import inf
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from perception.checks import checked_number
from perception.errors import DataError
from perception.formats.outlines import outlines
from perception.instances import Instances
from perception.ops.boxes import xyxy_to_xywh
from perception.runtime.files import remove_parts, whole_file


def to_coco(
    results: Sequence[Instances],
    *,
    info: Mapping[str, Any] | None = None,
    polygons: bool = False,
    simplify: float = 0.0,
) -> dict[str, Any]:
    """The content of one COCO file, as plain dicts and lists, for the results of many images.

    info: how the results were made (default: what they say themselves); polygons: outlines in place
    of run lengths; simplify: how far these may be from the pixels' steps, in pixels, for fewer
    corners (see ``mask_to_polygons``). Raises DataError if two images have one file name, or if
    results were made in different ways (another model or threshold), which one file can't tell
    apart.
    """
    checked_number("simplify", simplify, 0, inf)
    ordered = sorted(results, key=lambda result: result.file_name)
    _check_names(ordered)
    category_ids: dict[str, int] = {}
    for result in ordered:
        for name in result.classes:
            category_ids.setdefault(name, len(category_ids) + 1)
    annotations: list[dict[str, Any]] = []
    images = []
    for image_id, result in enumerate(ordered, start=1):
        images.append(image_row(image_id, result, category_ids))
        first = len(annotations) + 1
        annotations += annotation_rows(
            image_id,
            result,
            category_ids,
            first_id=first,
            polygons=polygons,
            simplify=simplify,
        )
    return {
        "info": _shared_info(ordered) if info is None else dict(info),
        "images": images,
        "annotations": annotations,
        "categories": _categories(category_ids),
    }


def write_coco(content: Mapping[str, Any], path: Path) -> None:
    """Writes a COCO file's content; OutputError if that can't be done."""
    with whole_file(path) as file:
        file.write(coco_bytes(content))


def stream_coco(
    results: Iterable[Instances],
    path: Path,
    *,
    classes: Sequence[str],
    info: Mapping[str, Any],
    polygons: bool = False,
    simplify: float = 0.0,
) -> int:
    """Writes ``to_coco`` of results that come in order of their names, with one in memory.

    classes, info: those of all results. Returns how many annotations there are. Raises DataError
    for results out of order, OutputError if the file can't be written.
    """
    category_ids = {name: n for n, name in enumerate(classes, start=1)}
    last, count = None, 0
    remove_parts(path)
    # Annotations stand behind all images: they wait in a file that has no name.
    with whole_file(path) as file, TemporaryFile(dir=path.parent) as waiting:
        images, annotations = _Rows(file), _Rows(waiting)
        file.write(_encoded(f'{{\n"info": {to_json(info)},\n"images": '))
        for image_id, result in enumerate(results, start=1):
            if last is not None and result.file_name <= last:
                raise DataError(f"{result.file_name!r} comes after {last!r}: sort by file_name")
            last = result.file_name
            images.add(image_row(image_id, result, category_ids))
            for row in annotation_rows(
                image_id,
                result,
                category_ids,
                first_id=count + 1,
                polygons=polygons,
                simplify=simplify,
            ):
                annotations.add(row)
                count += 1
        images.end()
        file.write(b',\n"annotations": ')
        annotations.end()
        waiting.seek(0)
        shutil.copyfileobj(waiting, file)
        file.write(b',\n"categories": ')
        categories = _Rows(file)
        for row in _categories(category_ids):
            categories.add(row)
        categories.end()
        file.write(b"\n}\n")
    return count


def coco_bytes(content: Mapping[str, Any]) -> bytes:
    """A COCO file's content as JSON in UTF-8, one image or annotation a line."""
    text = BytesIO()
    before = b"{\n"
    for key, value in content.items():
        text.write(before + _encoded(f"{to_json(key)}: "))
        before = b",\n"
        if isinstance(value, list):
            rows = _Rows(text)
            for row in value:
                rows.add(row)
            rows.end()
        else:
            text.write(_encoded(to_json(value)))
    text.write(b"\n}\n")
    return text.getvalue()


class _Rows:
    """A JSON array that is written as its rows come, one a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._before = file, "[\n"

    def add(self, row: object) -> None:
        self._file.write(_encoded(f"{self._before}  {to_json(row)}"))
        self._before = ",\n"

    def end(self) -> None:
        self._file.write(b"[]" if self._before == "[\n" else b"\n]")


def _encoded(text: str) -> bytes:
    # A file name that isn't text holds lone surrogates; as \udcff they are valid JSON.
    return text.encode("utf-8", errors="backslashreplace")


def _check_names(ordered: Sequence[Instances]) -> None:
    counts = Counter(result.file_name for result in ordered)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"{counts[twice[0]]} images are called {twice[0]!r}: "
            "give each its own file_name (dataclasses.replace)"
        )


def _shared_info(ordered: Sequence[Instances]) -> dict[str, Any]:
    infos = [dict(result.info) for result in ordered]
    if any(info != infos[0] for info in infos):
        raise DataError("the results were made in different ways: write a file for each way")
    return infos[0] if infos else {}


def _categories(category_ids: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"id": n, "name": name} for name, n in category_ids.items()]


_DECIMALS_SCORE = 4
_DECIMALS_PIXEL = 2
# Kept where an instance has them.
_NUMBERS = ("scores", "quality", "stability", "margin")


def to_json(value: object) -> str:
    """JSON on one line, other alphabets as they are; ValueError for what JSON has no word for."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def image_row(image_id: int, result: Instances, category_ids: Mapping[str, int]) -> dict[str, Any]:
    """An image's entry; category_ids: by name, of all classes that were asked for.

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
    """The entries of an image's instances, numbered from ``first_id``.

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
    """From the image's name and content: copies in two folders are two images."""
    return _uid(result.file_name, result.uid, f"{result.image_hw[0]}x{result.image_hw[1]}")


def _uid(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", errors="backslashreplace")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _rounded(value: float | np.floating[Any], decimals: int) -> float | int:
    """A plain number; whole ones as int, so that a box from a mask reads 12 and not 12.0."""
    number = round(float(value), decimals)
    return int(number) if number.is_integer() else number
