"""Which tabs have which picture open, so that the second one can be told."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

_SECONDS = 15.0
_MOST = 10_000


class Tabs:
    """Tabs say every few seconds that they live; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def others(self, picture: str, tab: str) -> int:
        """Notes that a tab has a picture open; returns how many other living ones have, too."""
        now = self._clock()
        with self._lock:
            self._seen[tab] = (picture, now)
            self._seen.move_to_end(tab)
            while len(self._seen) > _MOST or self._oldest() < now - _SECONDS:
                self._seen.popitem(last=False)
            return sum(open_one == picture for open_one, _ in self._seen.values()) - 1

    def leave(self, tab: str) -> None:
        """Note that a tab goes away: reloaded, closed, or on another site."""
        with self._lock:
            self._seen.pop(tab, None)

    def _oldest(self) -> float:
        return next(iter(self._seen.values()))[1]
