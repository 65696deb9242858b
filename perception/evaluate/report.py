"""A measurement as one HTML page: figures, plots, and its worst cases."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perception.coco.write import to_json
from perception.errors import ImageError, OutputError
from perception.evaluate.cases import draw_case
from perception.evaluate.ground_truth import picture_path
from perception.imaging.read import printable, read_image
from perception.report.charts import draw_plot
from perception.report.html import Tree, document, tag
from perception.report.measurement import MOST_CASES, Case, Cell, Measurement, Table
from perception.runtime.files import whole_file
from perception.types import ImageArray

_OPEN_ROWS = 24
"""A table with more rows can be folded away."""
_LONGEST = 200


def write_report(measured: Measurement, path: Path, *, images: Path | None = None) -> None:
    """Writes the page; the same measurement and images give the same bytes.

    images: the folder of the images; without it the worst cases are drawn on a blank ground.
    Raises OutputError if it can't be written.
    """
    if path.is_dir():
        raise OutputError(f"{printable(str(path))}: a folder; name a file for --report")
    style = [
        files(package).joinpath(name).read_text("utf-8")
        for package, name in (
            ("perception.report", "review.css"),
            ("perception.report", "evaluation.css"),
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


_QUALITY = 82
_BLANK = 205
"""The grey of an image that isn't there."""


def case_list(cases: Sequence[Case], images: Path | None) -> Iterator[Tree]:
    """Cases with their images; images: the folder of these, or None for a blank ground."""
    drawn: dict[int, Tree] = {}
    numbered = sorted(enumerate(cases), key=lambda one: one[1].file_name)
    for name, group in groupby(numbered, key=lambda one: one[1].file_name):
        some = list(group)
        image, why = _read(name, images, some[0][1].truth.image_hw)
        for n, case in some:
            drawn[n] = _tile(n + 1, case, image, why)
    yield tag("p", _legend(cases), class_="soft")
    yield tag("ol", *(drawn[n] for n in range(len(cases))), class_="cases")


def _legend(cases: Sequence[Case]) -> str:
    text = "Left: what is right; right: what was answered."
    if any(len(case.points) for case in cases):
        text += " Green plus: a click in the thing; red minus: outside it; the first is larger."
    if any("unknown" in case.truth.classes for case in cases):
        text += " Blue on the left: nobody has judged these pixels, they don't count."
    return text


def _read(name: str, images: Path | None, image_hw: tuple[int, int]) -> tuple[ImageArray, str]:
    """A case's image, H x W x 3; or a blank one, and why."""
    blank = np.full((*image_hw, 3), _BLANK, np.uint8)
    if images is None:
        return blank, ""
    path = picture_path(images, name)
    try:
        image = read_image(path)
    except ImageError as error:
        return blank, str(error).removeprefix(f"{printable(str(path))}: ")
    if image.shape[:2] != image_hw:
        return blank, "the image has another size now"
    return image, ""


def _tile(number: int, case: Case, image: ImageArray, why: str) -> Tree:
    name = printable(case.file_name)
    panels = zip(("what is right", "what was answered"), draw_case(case, image), strict=True)
    pictures = [_picture(panel, f"{words}: {printable(case.caption)}") for words, panel in panels]
    caption = tag(
        "figcaption",
        tag("b", f"{number}. {case.value:.2f}"),
        f" {printable(case.caption)}",
        tag("span", name, class_="name"),
    )
    if why:
        caption.append(tag("span", printable(why), class_="why"))
    figure = tag("figure", tag("div", *pictures, class_="pair"), caption, title=name)
    return tag("li", figure)


def _picture(panel: ImageArray, words: str) -> Tree:
    file = io.BytesIO()
    Image.fromarray(panel).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}",
        width=panel.shape[1],
        height=panel.shape[0],
        alt=words,
        loading="lazy",
        decoding="async",
    )
