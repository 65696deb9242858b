"""Histograms and plots as SVG drawings in a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from perception.report.html import Tree, tag
from perception.report.measurement import Line, Plot
from perception.report.survey import SCORE_BINS, SIZE_EDGES
from perception.types import IntArray

_WIDTH, _HEIGHT, _FOOT, _HEAD = 240, 76, 14, 12


def score_chart(above: IntArray, below: IntArray, *, threshold: float) -> Tree:
    """Instances by score, above and, pale, below the threshold, which is a line; bins each."""
    names = [f"{n / SCORE_BINS:.2f} to {(n + 1) / SCORE_BINS:.2f}" for n in range(SCORE_BINS)]
    ticks = [(n, f"{n / SCORE_BINS:g}") for n in range(0, SCORE_BINS + 1, SCORE_BINS // 4)]
    chart = _chart("Scores", names, above.tolist(), below.tolist(), ticks)
    x = _round(threshold * _WIDTH)
    line = tag("line", x1=x, x2=x, y1=0, y2=_HEIGHT - _FOOT, class_="threshold")
    line.append(tag("title", f"threshold {threshold:g}"))
    chart.append(line)
    return chart


def size_chart(sizes: IntArray) -> Tree:
    """Instances above the threshold by size, the square root of their area in pixels; bins."""
    edges = [*map(str, SIZE_EDGES)]
    names = [f"below {edges[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(edges)]
    names += [f"{edges[-1]} and above"]
    ticks = [(n, edge) for n, edge in enumerate(edges, start=1) if n % 2]
    return _chart("Sizes", names, sizes.tolist(), [0] * len(names), ticks)


def _chart(
    title: str,
    names: Sequence[str],
    dark: Sequence[int],
    pale: Sequence[int],
    ticks: Sequence[tuple[int, str]],
) -> Tree:
    """Bars of two parts; ticks: at which bar's left edge what stands below."""
    top = max([d + p for d, p in zip(dark, pale, strict=True)], default=0)
    step, floor = _WIDTH / len(names), _HEIGHT - _FOOT
    chart = tag(
        "svg",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_="chart",
        role="img",
        aria_label=f"{title}: {_in_words(names, dark)}",
    )
    for n, (name, d, p) in enumerate(zip(names, dark, pale, strict=True)):
        if d + p:
            heights = [(floor - _HEAD) * part / top for part in (d, p)]
            text = f"{name}: {d:,}" + (f", and {p:,} below the threshold" if p else "")
            bar = tag("g", tag("title", text))
            for y, height, kind in (
                (floor - heights[0], heights[0], "above"),
                (floor - sum(heights), heights[1], "below"),
            ):
                if height:
                    place = {"x": _round(n * step + 0.5), "y": _round(y)}
                    size = {"width": _round(step - 1), "height": _round(height)}
                    bar.append(tag("rect", class_=kind, **place, **size))
            chart.append(bar)
    chart.append(tag("line", x1=0, x2=_WIDTH, y1=floor, y2=floor, class_="axis"))
    chart.append(tag("text", f"{top:,}", x=_WIDTH, y=9, class_="end"))
    for n, label in ticks:
        end = "end" if n == len(names) else "start" if n == 0 else "middle"
        chart.append(tag("text", label, x=_round(n * step), y=_HEIGHT - 3, class_=end))
    return chart


def _in_words(names: Sequence[str], counts: Sequence[int]) -> str:
    """For those who can't see bars."""
    parts = [f"{count:,} of {name}" for name, count in zip(names, counts, strict=True) if count]
    return ", ".join(parts) or "none"


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


_PLOT_WIDTH, _PLOT_HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 34
_MAX_DOTS = 25
"""Lines of more points have no dots on them."""
_BAR_GROUP = 0.8
"""The part of its place that a group of bars fills."""
_MAX_TICKS = 8


class _Axes(NamedTuple):
    """x0, x1: what the plot covers from its left to its right edge; y goes from 0 to 1."""

    x0: float
    x1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (_PLOT_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _TOP + (1 - min(max(value, 0), 1)) * (_PLOT_HEIGHT - _TOP - _BOTTOM)


def draw_plot(plot: Plot) -> Tree:
    """A plot with its title above and its legend below."""
    xs = [x for line in plot.lines for x, y in line.points if math.isfinite(y)]
    axes = _axes(xs, bars=plot.bars)
    drawing = tag(
        "svg",
        *_grid(plot, axes),
        *(_bars(plot, axes) if plot.bars else _lines(plot, axes)),
        viewBox=f"0 0 {_PLOT_WIDTH} {_PLOT_HEIGHT}",
        class_="plot",
        role="img",
        aria_label=f"{plot.title}: {_plot_in_words(plot)}",
    )
    names = [
        tag("li", tag("i", class_=f"swatch c{n % _COLORS}"), line.name)
        for n, line in enumerate(plot.lines)
    ]
    legend = tag("figcaption", tag("ul", *names, class_="legend"))
    return tag("figure", tag("h3", plot.title), drawing, legend)


_COLORS = 6
"""As many as the page's style names; after them they come again."""


def _axes(xs: Sequence[float], *, bars: bool) -> _Axes:
    if bars:
        return _Axes(-0.5, max([*xs, 0.0]) + 0.5)
    low, high = float(min(xs, default=0)), float(max(xs, default=1))
    return _Axes(low, high) if high > low else _Axes(low - 0.5, high + 0.5)


def _grid(plot: Plot, axes: _Axes) -> Iterator[Tree]:
    """The frame, its lines and what stands beside them."""
    right, foot = _PLOT_WIDTH - _RIGHT, _PLOT_HEIGHT - _BOTTOM
    for n in range(5):
        y = _round(axes.y(n / 4))
        yield tag("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="axis" if n == 0 else "grid")
        yield tag("text", f"{n / 4:g}", x=_LEFT - 5, y=_round(axes.y(n / 4) + 3), class_="end")
    for x, label in _ticks(plot, axes):
        yield tag("text", label, x=_round(axes.x(x)), y=foot + 13, class_="middle")
    middle = (_LEFT + right) / 2
    yield tag("text", plot.x, x=_round(middle), y=_PLOT_HEIGHT - 6, class_="middle name")
    turned = f"translate(9 {_round((_TOP + foot) / 2)}) rotate(-90)"
    yield tag("text", plot.y, transform=turned, class_="middle name")


def _ticks(plot: Plot, axes: _Axes) -> list[tuple[float, str]]:
    """Where something stands below the x axis."""
    if plot.ticks:
        return [(float(n), name) for n, name in enumerate(plot.ticks)]
    whole = all(float(x).is_integer() for line in plot.lines for x, _ in line.points)
    step = _step((axes.x1 - axes.x0) / _MAX_TICKS, whole=whole)
    first = math.ceil(axes.x0 / step - 1e-9)
    last = math.floor(axes.x1 / step + 1e-9)
    places = [n * step for n in range(first, last + 1)]
    # Clicks begin with 1, not with 0: the first one is worth its name.
    if axes.x0.is_integer() and axes.x0 not in places and places and places[0] - axes.x0 > step / 3:
        places.insert(0, axes.x0)
    return [(place, f"{place:g}") for place in places]


def _step(least: float, *, whole: bool) -> float:
    """The first round number that is large enough; whole: no fraction."""
    unit = 10.0 ** math.floor(math.log10(least))
    steps = [unit * factor for factor in (1, 2, 2.5, 5, 10, 20)]
    return next(step for step in steps if step >= least and (step.is_integer() or not whole))


def _lines(plot: Plot, axes: _Axes) -> Iterator[Tree]:
    for n, line in enumerate(plot.lines):
        places = [(axes.x(x), axes.y(y), x, y) for x, y in line.points if math.isfinite(y)]
        group = tag("g", tag("title", line.name), class_=f"c{n % _COLORS}")
        path = " ".join(f"{_round(x)},{_round(y)}" for x, y, _, _ in places)
        group.append(tag("polyline", points=path, class_="curve"))
        if len(places) <= _MAX_DOTS:
            for x, y, at, value in places:
                dot = tag("circle", cx=_round(x), cy=_round(y), r=2.6, class_="dot")
                dot.append(tag("title", f"{line.name}, {plot.x} {at:g}: {value:.3f}"))
                group.append(dot)
        yield group


def _bars(plot: Plot, axes: _Axes) -> Iterator[Tree]:
    width = (axes.x(1) - axes.x(0)) * _BAR_GROUP / max(len(plot.lines), 1)
    for n, line in enumerate(plot.lines):
        group = tag("g", class_=f"c{n % _COLORS}")
        for at, value in line.points:
            if math.isfinite(value):
                left = axes.x(at) + (n - len(plot.lines) / 2) * width
                group.append(_bar(line, plot, at, value, left, width, axes))
        yield group


def _bar(
    line: Line, plot: Plot, at: float, value: float, left: float, width: float, axes: _Axes
) -> Tree:
    top, foot = axes.y(value), axes.y(0)
    name = plot.ticks[int(at)] if int(at) < len(plot.ticks) else f"{at:g}"
    bar = tag("g", tag("title", f"{line.name}, {name}: {value:.3f}"))
    place = {"x": _round(left + 0.5), "y": _round(top)}
    size = {"width": _round(max(width - 1, 0.5)), "height": _round(max(foot - top, 0.5))}
    bar.append(tag("rect", class_="bar", **place, **size))
    if width >= 22:
        middle = _round(left + width / 2)
        text = f"{value:.2f}".removeprefix("0")
        bar.append(tag("text", text, x=middle, y=_round(max(top - 3, 9)), class_="middle"))
    return bar


def _plot_in_words(plot: Plot) -> str:
    """For those who can't see it: where each line begins and ends, or each bar's height."""
    parts = []
    for line in plot.lines:
        points = [point for point in line.points if math.isfinite(point[1])]
        if not plot.bars and len(points) > 2:
            points = [points[0], points[-1]]
        told = ", ".join(f"{y:.2f} at {_place(plot, x)}" for x, y in points)
        parts.append(f"{line.name} {told}")
    return "; ".join(parts)


def _place(plot: Plot, x: float) -> str:
    named = plot.bars and int(x) < len(plot.ticks)
    return plot.ticks[int(x)] if named else f"{x:g}"
