"""CSV: a row for each instance, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perception.formats.atomic import whole_file
from perception.instances import Instances

COLUMNS = (
    *("file_name", "width", "height", "class", "score", "quality", "stability"),
    *("runner_up", "margin", "x0", "y0", "x1", "y1", "area", "number", "part_of", "origin"),
)


def write_csv(results: Iterable[Instances], path: Path) -> int:
    """Writes one row an instance, in UTF-8; returns how many. OutputError if it can't be written.

    A picture with nothing found has no row. number: counts the picture's instances from 1; part_of:
    the number of the instance that this one is a part of, if there is one.
    """
    count = 0
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in results:
            for row in _rows(result):
                writer.writerow(row)
                count += 1
        text.flush()
        text.detach()
    return count


def _rows(result: Instances) -> Iterator[list[Any]]:
    height, width = result.image_hw
    areas = result.areas
    for n, label in enumerate(result.labels):
        runner_up = -1 if result.runner_up is None else int(result.runner_up[n])
        parent = -1 if result.parent is None else int(result.parent[n])
        yield [
            result.file_name,
            width,
            height,
            label,
            *(
                "" if values is None or np.isnan(values[n]) else f"{values[n]:.4f}"
                for values in (result.scores, result.quality, result.stability)
            ),
            result.classes[runner_up] if runner_up >= 0 else "",
            "" if result.margin is None else f"{result.margin[n]:.4f}",
            *(f"{side:.6g}" for side in result.boxes[n]),
            f"{areas[n]:.6g}",
            n + 1,
            "" if parent < 0 else parent + 1,
            "" if result.origins is None else result.origins[n],
        ]
