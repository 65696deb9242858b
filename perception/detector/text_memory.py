"""A bounded memory: what was asked for last stays, what was long unused goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TextMemory(Generic[Key, Value]):
    """Keeps at most ``size`` values; several threads may ask."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made now if it isn't known."""
        return self.get_all([key], lambda _: [make()])[0]

    def get_all(
        self, keys: Sequence[Key], make: Callable[[list[Key]], Sequence[Value]]
    ) -> list[Value]:
        """The values of ``keys``; those that aren't known are made in one call, each once."""
        with self._lock:
            have = {key: self._known[key] for key in keys if key in self._known}
        new = [key for key in dict.fromkeys(keys) if key not in have]
        if new:  # Not under the lock: two threads may make the same, which does no harm.
            have.update(zip(new, make(new), strict=True))
        with self._lock:
            for key in dict.fromkeys(keys):
                self._known[key] = have[key]
                self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return [have[key] for key in keys]
