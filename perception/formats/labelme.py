"""labelme: a JSON file per picture, with a polygon for each part of an instance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from perception.formats.atomic import inside, whole_file
from perception.formats.outlines import outlines
from perception.formats.stems import Stems
from perception.instances import Instances

_VERSION = "5.0.0"  # Of the format; labelme reads those of its own and earlier main versions.


def write_labelme(results: Iterable[Instances], folder: Path, *, images: Path) -> int:
    """Writes ``<picture>.json`` for results in order of their names; returns how many instances.

    images: the folder that the names start from. Parts of one instance share a group. Holes are
    cut out. Raises OutputError if a file can't be written, or for names that labelme can't tell
    apart.
    """
    count, stems = 0, Stems("labelme")
    for result in results:
        path = inside(folder, f"{stems(result.file_name)}.json")
        picture = os.path.relpath(images.absolute() / result.file_name, path.absolute().parent)
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [shape for n in range(len(result)) for shape in _shapes(result, n)],
            "imagePath": Path(picture).as_posix(),
            "imageData": None,
            "imageHeight": result.image_hw[0],
            "imageWidth": result.image_hw[1],
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        with whole_file(path) as file:
            file.write(text.encode("utf-8", errors="backslashreplace"))
        count += len(result)
    return count


def _shapes(result: Instances, n: int) -> list[dict[str, Any]]:
    return [
        {
            "label": result.labels[n],
            "points": outline.tolist(),
            "group_id": n + 1,
            "description": _description(result, n),
            "shape_type": "polygon",
            "flags": {},
        }
        for outline in outlines(result, n)
    ]


def _description(result: Instances, n: int) -> str:
    scored = not np.isnan(result.scores[n])
    origin = result.origins[n] if result.origins is not None else "model"
    parent = -1 if result.parent is None else int(result.parent[n])
    words = [f"score {result.scores[n]:.4f}"] if scored else []
    if parent >= 0:
        words.append(f"part of group {parent + 1}")
    return ", ".join([*words, *([origin] if origin != "model" else [])])
