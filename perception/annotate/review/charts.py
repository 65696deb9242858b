"""Histograms as drawings (SVG) in a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from perception.annotate.review.markup import Tree, tag
from perception.annotate.review.survey import SCORE_BINS, SIZE_EDGES
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
