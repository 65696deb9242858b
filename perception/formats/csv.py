"""CSV: a row for each instance, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.errors import MissingExtraError
from perception.instances import Instances
from perception.runtime.files import whole_file

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("file_name", "width", "height", "class", "score", "quality", "stability"),
    *("runner_up", "margin", "x0", "y0", "x1", "y1", "area", "number", "part_of", "origin"),
)

_FORMS = {
    **dict.fromkeys(("score", "quality", "stability", "margin"), ".4f"),
    **dict.fromkeys(("x0", "y0", "x1", "y1", "area"), ".6g"),
}
"""How the CSV writes numbers that aren't whole."""


def write_csv(results: Iterable[Instances], path: Path) -> int:
    """Writes one row an instance, in UTF-8; returns how many. OutputError if it can't be written.

    An image with nothing found has no row. number: counts the image's instances from 1; part_of:
    the number of the instance that this one is a part of, if there is one.
    """
    count = 0
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in results:
            for row in _rows(result):
                writer.writerow([_text(*cell) for cell in zip(COLUMNS, row, strict=True)])
                count += 1
        text.flush()
        text.detach()
    return count


def to_dataframe(result: Instances) -> pd.DataFrame:
    """Return one result as a ``pandas.DataFrame`` with a row for each instance.

    Columns are those of the CSV; what isn't known is NaN or missing. Raises MissingExtraError
    without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_dataframe needs pandas: pip install pandas") from None
    table = pd.DataFrame(list(_rows(result)), columns=list(COLUMNS))
    kinds = dict.fromkeys(_FORMS, "float64") | dict.fromkeys(("width", "height", "number"), "int64")
    return table.astype({**kinds, "part_of": "Int64"})


def _text(column: str, value: Any) -> Any:
    """A value as the CSV has it; nothing for what isn't known."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    return format(value, _FORMS[column]) if column in _FORMS else value


def _rows(result: Instances) -> Iterator[list[Any]]:
    """The values of each instance in the order of ``COLUMNS``; None for what isn't known."""
    height, width = result.image_hw
    areas = result.areas
    for n, label in enumerate(result.labels):
        runner_up = -1 if result.runner_up is None else int(result.runner_up[n])
        parent = -1 if result.parent is None else int(result.parent[n])
        score, quality, stability, margin = (
            None if values is None else float(values[n])
            for values in (result.scores, result.quality, result.stability, result.margin)
        )
        yield [
            *(result.file_name, width, height, label, score, quality, stability),
            result.classes[runner_up] if runner_up >= 0 else None,
            margin,
            *result.boxes[n].tolist(),
            float(areas[n]),
            n + 1,
            None if parent < 0 else parent + 1,
            None if result.origins is None else result.origins[n],
        ]
