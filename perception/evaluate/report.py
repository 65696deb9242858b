"""A measurement as one HTML page: figures, plots, and the worst cases beside their truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from perception.annotate.review.document import document
from perception.annotate.review.markup import Tree, tag
from perception.errors import OutputError
from perception.evaluate.measurement import MOST_CASES, Cell, Measurement, Table
from perception.evaluate.report_cases import case_list
from perception.evaluate.report_plots import draw_plot
from perception.formats.atomic import whole_file
from perception.formats.coco_rows import to_json
from perception.images import printable

_OPEN_ROWS = 24
"""A table with more rows can be folded away."""
_LONGEST = 200


def write_report(measured: Measurement, path: Path, *, images: Path | None = None) -> None:
    """Writes the page; the same measurement and pictures give the same bytes.

    images: the folder of the pictures; without it the worst cases are drawn on a blank ground.
    Raises OutputError if it can't be written.
    """
    if path.is_dir():
        raise OutputError(f"{printable(str(path))}: a folder; name a file for --report")
    style = [
        files(package).joinpath(name).read_text("utf-8")
        for package, name in (
            ("perception.annotate.review", "page.css"),
            (__package__, "report.css"),
        )
    ]
    with whole_file(path) as file:
        for part in document(measured.title, "\n".join(style), _body(measured, images)):
            file.write(part.encode("utf-8", "backslashreplace"))


def _body(measured: Measurement, images: Path | None) -> Iterator[Tree]:
    yield tag("h1", printable(measured.title))
    yield _what_was_measured(measured.info)
    plots, cases = measured.plots(), measured.cases()
    sections = [("figures", "Figures")]
    sections += [("plots", "Plots")] if plots else []
    sections += [("worst", "Worst cases")] if cases else []
    yield tag("nav", *(tag("a", heading, href=f"#{key}") for key, heading in sections))
    yield tag("h2", "Figures", id="figures")
    for table in measured.tables():
        yield _table(table)
    if plots:
        yield tag("h2", "Plots", id="plots")
        yield tag("div", *map(draw_plot, plots), class_="plots")
    if cases:
        yield tag("h2", "Worst cases", id="worst")
        yield from case_list(cases[:MOST_CASES], images)


def _what_was_measured(info: Mapping[str, Any]) -> Tree:
    listed = tag("dl")
    files_: Mapping[str, str] = {}
    for key, value in info.items():
        if key == "weights" and isinstance(value, Mapping):
            files_ = value
        elif value not in (None, "", {}, []):
            listed.append(tag("dt", printable(str(key))))
            listed.append(tag("dd", _brief(value)))
    for name, digest in files_.items():
        listed.append(tag("dt", "weights"))
        listed.append(tag("dd", f"{printable(str(name))} ", tag("code", str(digest)[:12])))
    line = "; ".join(f"{key} {info[key]}" for key in ("segmenter", "detector") if info.get(key))
    heading = f"What was measured: {printable(line)}" if line else "What was measured"
    return tag("details", tag("summary", heading), listed)


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else _words(value)
    return printable(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    return value if isinstance(value, str) else to_json(value)


def _table(table: Table) -> Tree:
    head = tag("tr", *(tag("th", column, scope="col") for column in table.columns))
    rows = [tag("tr", *(tag("td", _cell(cell)) for cell in row)) for row in table.rows]
    inner = tag("div", tag("table", head, *rows), class_="wide")
    if len(rows) <= _OPEN_ROWS:
        return tag("section", tag("h3", table.title), inner)
    count = tag("span", f" {len(rows):,} rows", class_="soft")
    return tag("details", tag("summary", tag("h3", table.title), count), inner)


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else printable(cell)
