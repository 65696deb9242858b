"""What the model found in the images of a run: made when it is needed, the last of it kept."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from perception.runs.read import RunReader
from perception.runs.records import Mark, instances_to_marks
from perception.runs.results import result_of

MAX_BYTES = 64 << 20
"""Of results that are kept."""

MAX_COUNTS = 100_000
"""Images whose number of instances is kept."""

_MARK_BYTES = 1000
_SECONDS = 1.0


class RunResults:
    """Results of a run, for any number of threads.

    A connection of its own reads them, so that nobody who writes waits for one. A result is that of
    the model, whatever a hand has done since; the run's stored answers don't change meanwhile.
    """

    def __init__(self, path: Path, *, threshold: float, max_bytes: int = MAX_BYTES) -> None:
        """Open the run to read.

        Args:
            path: the run database, which has been begun.
            threshold: the least score of an instance.
            max_bytes: room for results; at least one is kept, however large.

        Raises:
            RunError: if there is no such run.
        """
        self._run, self._threshold, self._max_bytes = RunReader(path), threshold, max_bytes
        self._reading, self._state = Lock(), Lock()
        self._urgent = 0
        self._kept: OrderedDict[str, tuple[Mark, ...]] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self.bytes = 0
        """Of the results that are kept."""

    def close(self) -> None:
        """Close the connection."""
        with self._reading:
            self._run.close()

    def marks(self, name: str) -> tuple[Mark, ...]:
        """Return what was found in an image of the run; nothing in one that isn't done."""
        with self._goes_first():
            return self._marks(name) or ()

    def known_count(self, name: str) -> int | None:
        """Return how many instances an image has, if its result was made before."""
        with self._state:
            return self._counts.get(name)

    def counts(self, names: Iterable[str], *, seconds: float = _SECONDS) -> dict[str, int]:
        """Return how many instances images have, of as many as can be said soon.

        Args:
            names: of images of the run.
            seconds: after this time no further result is begun, nor when ``marks`` waits.

        Returns:
            Counts by name, of the first name at least; none of an image that isn't done, or that
            a hand has worked on.
        """
        end = time.monotonic() + seconds
        found: dict[str, int] = {}
        for name in names:
            if found and (time.monotonic() > end or self._urgent):
                break
            count = self.known_count(name)
            if count is not None:
                found[name] = count
            elif (marks := self._marks(name)) is not None:
                found[name] = len(marks)
        return found

    def _marks(self, name: str) -> tuple[Mark, ...] | None:
        with self._reading:
            with self._state:
                known = self._kept.get(name)
                if known is not None:
                    self._kept.move_to_end(name)
                    return known
            stored = self._run.stored(name)
            if stored is None or stored.revision:
                return None
            result = result_of(self._run, stored, threshold=self._threshold)
            marks = instances_to_marks(result.instances)
            self._keep(name, marks)
            return marks

    def _keep(self, name: str, marks: tuple[Mark, ...]) -> None:
        with self._state:
            self._kept[name] = marks
            self.bytes += _bytes_of(marks)
            while self.bytes > self._max_bytes and len(self._kept) > 1:
                self.bytes -= _bytes_of(self._kept.popitem(last=False)[1])
            self._counts[name] = len(marks)
            if len(self._counts) > MAX_COUNTS:
                self._counts.popitem(last=False)

    @contextmanager
    def _goes_first(self) -> Iterator[None]:
        """Within it, counts are left for later."""
        with self._state:
            self._urgent += 1
        try:
            yield
        finally:
            with self._state:
                self._urgent -= 1


def _bytes_of(marks: tuple[Mark, ...]) -> int:
    return _MARK_BYTES + sum(_MARK_BYTES + len(mark.rle.counts) for mark in marks)
