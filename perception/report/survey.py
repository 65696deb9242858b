"""One pass over a run: counts, distributions, and an even sample of its instances."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Generic, TypeVar

import numpy as np

from perception.detectors.decode import SAME_CLASS_IOU
from perception.report.html import Watch, unwatched
from perception.report.thumbnails import Shown, shown_instances
from perception.report.uncertainty import Doubt, Doubts
from perception.runs.read import RunReader
from perception.runs.results import Result, iter_results
from perception.types import FloatArray, IntArray

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


SCORE_BINS = 20
"""Of scores from 0 to 1, all of one width."""

SIZE_EDGES = tuple(4 * 2**n for n in range(9))
"""Where one bin of sizes ends and the next begins: 4, 8, ... 1024 pixels."""

MOST_DOUBTS = 48
"""Uncertain instances in a review."""


class Survey:
    """What a run has found, in memory that depends on its C classes, not on its images.

    images: in how many each class was found, C; counts: instances above the threshold, and marks,
    by class, C; by_hand: how many of these a hand has made or changed; above, below: those with a
    score by class and score, C x ``SCORE_BINS``, above and below the threshold; best_below: the
    best score below it, C, 0 for none; sizes: those that count by class and size, the square root
    of the mask's area, C x one more than ``SIZE_EDGES``.
    """

    def __init__(self, classes: Sequence[str], *, threshold: float, per_class: int) -> None:
        count = len(classes)
        self.classes, self.threshold = tuple(classes), threshold
        self.pictures, self.counts = np.zeros((2, count), np.int64)
        self.by_hand = 0
        self.above = np.zeros((count, SCORE_BINS), np.int64)
        self.below = np.zeros((count, SCORE_BINS), np.int64)
        self.best_below = np.zeros(count, np.float32)
        self.sizes = np.zeros((count, len(SIZE_EDGES) + 1), np.int64)
        self._samples = [EvenSample[Shown](per_class) for _ in classes]
        self._doubts = Doubts(MOST_DOUBTS)

    def add(self, result: Result) -> None:
        """Counts an image's instances, which are all that the run has stored, or its marks."""
        found, marked = result.instances, result.picture.revision > 0
        scored = ~np.isnan(found.scores)
        above = (found.scores >= self.threshold) | marked
        bins = score_bins(np.where(scored, found.scores, 0))
        np.add.at(self.counts, found.class_ids[above], 1)
        self.by_hand += sum(origin != "model" for origin in found.origins or ())
        for counts, chosen in ((self.above, above & scored), (self.below, ~above)):
            np.add.at(counts, (found.class_ids[chosen], bins[chosen]), 1)
        np.maximum.at(self.best_below, found.class_ids[~above], found.scores[~above])
        self.pictures[np.unique(found.class_ids[above])] += 1
        sizes = np.searchsorted(SIZE_EDGES, np.sqrt(found[above].areas), side="right")
        np.add.at(self.sizes, (found.class_ids[above], sizes), 1)
        for n, one in enumerate(shown_instances(result, threshold=self.threshold)):
            draw = _draw(one.name, n)
            self._samples[one.class_id].offer(one, stratum=_stratum(one), draw=draw)
            if not marked:  # What a hand has seen is in no doubt.
                self._doubts.offer(one)

    def sample(self, class_id: int) -> list[Shown]:
        """A class's instances to show, spread over their scores: those of hands, then the best."""
        items = self._samples[class_id].items()
        return sorted(items, key=lambda one: -2.0 if one.score is None else -one.score)

    def doubts(self) -> list[Doubt]:
        """The most uncertain instances, worst first."""
        return self._doubts.ranked(self.classes)

    def shown(self) -> Iterator[Shown]:
        """All instances that are shown, some of them twice."""
        for class_id in range(len(self.classes)):
            yield from self.sample(class_id)
        yield from (doubt.instance for doubt in self.doubts())


def survey(
    run: RunReader,
    *,
    threshold: float,
    scores_from: float | None = None,
    per_class: int,
    nms: float = SAME_CLASS_IOU,
    watch: Watch = unwatched,
) -> Survey:
    """Goes through all images of a run that are done or marked; one of them in memory.

    What lies below the threshold, from ``scores_from`` (default: the run's floor), is counted, too:
    the instances above are the same with and without it, and a margin can only be smaller for it.
    """
    found = Survey(run.classes, threshold=threshold, per_class=per_class)
    least = run.settings["floor"] if scores_from is None else scores_from
    with closing(iter_results(run, threshold=least, nms=nms)) as results:
        for result in watch(results, total=run.picture_count()):
            found.add(result)
    return found


def score_bins(scores: FloatArray) -> IntArray:
    """Which bin each of N scores falls into, N."""
    # 0.3 as float32 is a little more than 0.3, 0.35 a little less: both are meant to begin a bin.
    bins: IntArray = np.floor(scores.astype(np.float64) * SCORE_BINS + 1e-5).astype(np.int64)
    return bins.clip(0, SCORE_BINS - 1)


def _stratum(one: Shown) -> int:
    """What has no score is by itself."""
    return (
        SCORE_BINS if one.score is None else int(score_bins(np.array([one.score], np.float32))[0])
    )


def _draw(name: str, n: int) -> int:
    """A number by chance that is the same in every review."""
    text = f"{name}\0{n}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
