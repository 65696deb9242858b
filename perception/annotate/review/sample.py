"""A sample that is spread evenly, drawn from a stream whose length isn't known."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Item = TypeVar("Item")


class EvenSample(Generic[Item]):
    """At most ``most`` items: as many from each stratum as there is room for, by chance within it.

    The chance is each item's ``draw``, a number: the lowest of a stratum stay. So the sample
    depends only on what was offered. With room for one more or less, high strata come first.
    """

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._strata: dict[int, list[tuple[int, int, Item]]] = {}

    def offer(self, item: Item, *, stratum: int, draw: int) -> None:
        """Takes an item, and drops the one that there is no longer room for.

        That is one of the fullest stratum, so what a stratum may hold only ever shrinks: whatever
        was dropped would be dropped again, had it come last.
        """
        heap = self._strata.setdefault(stratum, [])
        # The highest draw lies on top; a number of its own keeps items from being compared.
        heapq.heappush(heap, (-draw, -self._count, item))
        self._count += 1
        if sum(map(len, self._strata.values())) > self._most:
            fullest = max(self._strata, key=lambda key: (len(self._strata[key]), -key))
            heapq.heappop(self._strata[fullest])

    def items(self) -> list[Item]:
        """What is in the sample, high strata first; within one, in the order of their draws."""
        return [
            item
            for stratum in sorted(self._strata, reverse=True)
            for _, _, item in sorted(self._strata[stratum], key=lambda row: row[:2], reverse=True)
        ]
