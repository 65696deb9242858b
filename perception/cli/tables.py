"""Results and measurements as text tables for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from perception.imaging.read import printable
from perception.instances import Instances
from perception.models.explain import hundredths
from perception.report.measurement import Cell, Table

_MOST_ROWS = 40


def instance_table(found: Instances) -> str:
    """One line an instance: label, score, mask quality, box as ``--box`` takes it, and area.

    Of very many only the first are listed.
    """
    if not len(found):
        best = max(found.best_scores.items(), key=lambda pair: pair[1], default=None)
        return "  nothing found" + (f" (best: {best[0]} {hundredths(best[1])})" if best else "")
    rows = [("label", "score", "quality", "box x0,y0,x1,y1", "area")]
    total, found = len(found), found[:_MOST_ROWS]
    quality = ["-"] * len(found) if found.quality is None else [f"{q:.2f}" for q in found.quality]
    for n, label in enumerate(found.labels):
        box = ",".join(f"{side:.0f}" for side in found.boxes[n])
        rows.append((label, f"{found.scores[n]:.2f}", quality[n], box, f"{found.areas[n]:.0f}"))
    widths = [max(columns_of(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    if total > len(found):
        lines.append(f"  and {total - len(found)} more")
    return "\n".join(lines)


def stage_times(seconds: Mapping[str, float]) -> str:
    """``read 0.010 s, detect 0.052 s, ...``."""
    return ", ".join(f"{stage} {time:.3f} s" for stage, time in seconds.items())


def skipped_summary(skipped: Sequence[str], total: int) -> str:
    """What was left out of a batch and why, one line each."""
    return "\n".join([f"skipped {len(skipped)} of {total} images:", *(f"  {s}" for s in skipped)])


def heading(found: Instances) -> str:
    """The image's name and size."""
    height, width = found.image_hw
    return f"{printable(found.file_name)} ({width} x {height})"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    label, *numbers = row
    cells = [label + " " * (widths[0] - columns_of(label))]
    cells += [
        " " * (width - columns_of(cell)) + cell
        for cell, width in zip(numbers, widths[1:], strict=True)
    ]
    return "  " + "  ".join(cells)


def columns_of(text: str) -> int:
    """How many columns a terminal gives to a text: two to each wide letter, none to marks."""
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def table_text(table: Table) -> str:
    """A table as lines of text: names left, figures right."""
    rows = [table.columns, *(tuple(map(_shown, row)) for row in table.rows)]
    widths = [max(columns_of(row[n]) for row in rows) for n in range(len(table.columns))]
    lines = [table.title] if table.title else []
    for row in rows:
        cells = [row[0] + " " * (widths[0] - columns_of(row[0]))]
        cells += [
            " " * (width - columns_of(cell)) + cell
            for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
