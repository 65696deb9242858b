"""YOLO: a text file per picture, boxes or polygons as parts of its width and height.

``data.yaml`` names the classes; ``labels/<picture>.txt`` has a line an instance. YOLO looks for the
pictures in ``images/`` beside ``labels/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from perception.boxes import xyxy_to_cxcywh
from perception.formats.atomic import inside, whole_file
from perception.formats.outlines import one_outline
from perception.formats.stems import Stems
from perception.instances import Instances


def write_yolo(
    results: Iterable[Instances], folder: Path, *, classes: Sequence[str], polygons: bool = False
) -> int:
    """Writes results that come in order of their names; returns how many instances there are.

    polygons: outlines, out of which holes are cut, in place of boxes. A picture with nothing found
    has an empty file. Raises OutputError if a file can't be written, or for names that YOLO can't
    tell apart.
    """
    count, stems = 0, Stems("YOLO")
    for result in results:
        lines = [_line(result, n, polygons=polygons) for n in range(len(result))]
        path = inside(folder / "labels", f"{stems(result.file_name)}.txt")
        with whole_file(path) as file:
            file.write("".join(lines).encode("ascii"))
        count += len(lines)
    with whole_file(folder / "data.yaml") as file:
        # A JSON string is a YAML string.
        names = [f"  {n}: {json.dumps(name)}\n" for n, name in enumerate(classes)]
        header = f"path: .\ntrain: images\nval: images\nnc: {len(classes)}\nnames:\n"
        file.write((header + "".join(names)).encode())
    return count


def _line(result: Instances, n: int, *, polygons: bool) -> str:
    height, width = result.image_hw
    if polygons and result.rles:
        parts = one_outline(result, n) / np.array([width, height])
    else:
        (box,) = xyxy_to_cxcywh(result.boxes[n : n + 1])
        parts = box / np.array([width, height] * 2)
    return f"{result.class_ids[n]} {' '.join(f'{part:.6g}' for part in parts.ravel())}\n"
