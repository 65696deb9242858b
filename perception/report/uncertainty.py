"""Which instances of a run are the most uncertain, and why.

All instances are put in order five times: by margin, by the quality that the segmenter predicts, by
stability, by how far the segmenter's candidates are the same mask, and by how well detector and
segmenter agree on the box. The worst of an order has place
1 in it. An instance is as uncertain as its worst place, whichever order that is in: no weights, and
a model whose qualities all lie above 0.9 has its doubtful masks, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from perception.imaging.read import printable
from perception.report.thumbnails import Shown

_NEAR = 0.05
"""A runner-up that scores less isn't worth naming."""

_MOST_REASONS = 2


class Measure(NamedTuple):
    """One order. worst: what place 1 is called; value: 0..1, low is bad; says: what it means."""

    worst: str
    value: Callable[[Shown], float]
    says: Callable[[Shown, Sequence[str]], str]


def _margin_says(one: Shown, classes: Sequence[str]) -> str:
    if one.runner_up < 0 or (one.score or 0) - one.margin < _NEAR:
        return f"{one.margin:.2f}, no other class near"
    other = printable(classes[one.runner_up])
    return f"{one.margin:.2f} ahead of {other}" if one.margin >= 0.005 else f"level with {other}"


MEASURES = (
    Measure("smallest margin", lambda one: one.margin, _margin_says),
    Measure(
        "lowest mask quality",
        lambda one: one.quality,
        lambda one, _: f"{one.quality:.2f} predicted",
    ),
    Measure(
        "least stable mask",
        lambda one: one.stability,
        lambda one, _: f"stability {one.stability:.2f}",
    ),
    Measure(
        "least agreement of the candidates",
        lambda one: one.consensus,
        lambda one, _: f"{100 * one.consensus:.0f} % in common",
    ),
    Measure(
        "least agreement of box and mask",
        lambda one: one.agreement,
        lambda one, _: f"IoU {one.agreement:.2f}",
    ),
)


class Doubt(NamedTuple):
    """An uncertain instance. reasons: in words, one or two, the stronger first."""

    instance: Shown
    reasons: tuple[str, ...]


class Doubts:
    """The most uncertain of the instances so far; ``most`` of each order in memory."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._lowest: tuple[list[tuple[float, int, Shown]], ...] = tuple([] for _ in MEASURES)

    def offer(self, instance: Shown) -> None:
        """Puts an instance into each order where it is among the worst; of equals the first is."""
        for measure, heap in zip(MEASURES, self._lowest, strict=True):
            row = (-measure.value(instance), -self._count, instance)
            if len(heap) < self._most:
                heapq.heappush(heap, row)
            else:
                heapq.heappushpop(heap, row)
        self._count += 1

    def ranked(self, classes: Sequence[str]) -> list[Doubt]:
        """The most uncertain, worst first.

        Only the worst quarter of an order counts, and nothing is doubted by a measure of 1: of few
        instances not all are uncertain.
        """
        most = min(self._most, -(-self._count // 4))
        places: dict[Shown, list[tuple[int, str]]] = {}
        for measure, heap in zip(MEASURES, self._lowest, strict=True):
            rows = sorted(heap, key=lambda row: row[:2], reverse=True)
            for place, (value, _, instance) in enumerate(rows[:most], start=1):
                if -value < 1:
                    reason = f"{_th(place, measure.worst)}: {measure.says(instance, classes)}"
                    places.setdefault(instance, []).append((place, reason))
        # Sorting is stable: of equal places, the earlier measure's comes first.
        for reasons in places.values():
            reasons.sort(key=lambda one: one[0])
        ranked = sorted(places.items(), key=lambda entry: entry[1][0][0])
        return [
            Doubt(instance, tuple(reason for _, reason in reasons[:_MOST_REASONS]))
            for instance, reasons in ranked[: self._most]
        ]


def _th(place: int, worst: str) -> str:
    """``smallest margin``, ``2nd smallest margin``, ..."""
    if place == 1:
        return worst
    teen = place % 100 in (11, 12, 13)
    return f"{place}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(place % 10, 'th')} {worst}"
