"""What every measurement gives: figures as JSON, tables, plots, and its worst cases.

``clicks``, ``coco`` and their siblings each have a frozen result of their own, which satisfies
``Measurement``; the command line prints its tables, ``report`` makes one page of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from perception import __version__
from perception.coco.write import to_json
from perception.instances import Instances
from perception.runtime.files import whole_file
from perception.types import FloatArray, IntArray

MOST_CASES = 50
"""How many of the worst cases a measurement keeps."""

Cell = str | int | float | None
"""One figure of a table or a word; None where there is nothing to measure."""


@dataclass(frozen=True)
class Table:
    """Figures in rows, each as long as ``columns``; the first cell of a row is its name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(self.columns)} columns, got the row {row}")


@dataclass(frozen=True)
class Line:
    """One line of a plot: its points (x, y) from left to right."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """Lines over one pair of axes, or, where ``bars``, bars at whole x, named by ``ticks``.

    y goes from 0 to 1, as all that is measured here does; x covers the points.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    bars: bool = False
    ticks: tuple[str, ...] = ()


def _no_points() -> FloatArray:
    return np.zeros((0, 2), np.float32)


@dataclass(frozen=True, eq=False)
class Case:
    """One image, or one thing in it, with what is right and what was answered.

    file_name: from the pictures' folder; value: how good, the least is the worst; caption: in
    words; points: K x 2 clicks in pixels; point_labels: K, 1 = in, 0 = out.
    """

    file_name: str
    value: float
    caption: str
    truth: Instances
    answer: Instances
    points: FloatArray = field(default_factory=_no_points)
    point_labels: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))


def worst(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The worst ones, worst first; of equal ones those with most to be found, then by name."""

    def key(case: Case) -> tuple[float, float, str, str]:
        return case.value, -float(case.truth.areas.sum()), case.file_name, case.caption

    ordered = sorted(cases, key=key)
    return tuple(ordered[:MOST_CASES])


class Measurement(Protocol):
    """A measurement's result."""

    @property
    def title(self) -> str:
        """What was measured, in a few words."""
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """What was measured on what: models, weights, files, settings; no time stamp."""
        ...

    def to_json(self) -> dict[str, Any]:
        """All figures, as plain values; None where there is nothing to measure."""
        ...

    def tables(self) -> tuple[Table, ...]:
        """The figures for people, the most important first."""
        ...

    def plots(self) -> tuple[Plot, ...]:
        """What a table can't show."""
        ...

    def cases(self) -> tuple[Case, ...]:
        """The worst ones, worst first, at most ``MOST_CASES``."""
        ...


def measurement_json(measured: Measurement) -> str:
    """The same measurement gives the same text: one line of JSON."""
    content = {
        "perception": __version__,
        "measured": measured.title,
        "info": dict(measured.info),
        **measured.to_json(),
    }
    return to_json(content)


def write_measurement(measured: Measurement, path: Path) -> None:
    """Writes ``measurement_json``; OutputError if that can't be done."""
    with whole_file(path) as file:
        file.write(measurement_json(measured).encode("utf-8", "backslashreplace") + b"\n")


def rounded(value: float | np.floating[Any] | None, *, decimals: int = 4) -> float | None:
    """A figure as JSON holds it; None for what isn't there (None, nan)."""
    if value is None or np.isnan(value):
        return None
    return round(float(value), decimals)
