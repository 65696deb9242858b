"""A measurement's tables as text for a terminal."""

from __future__ import annotations

from perception.cli.report import columns_of
from perception.evaluate.measurement import Cell, Table


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
