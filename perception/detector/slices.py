"""Rows a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

SLICE = 1024
"""Rows at a time: what is made of them on the way stays in the processor's cache."""


def slices(count: int) -> Iterator[slice]:
    """``count`` rows in parts of at most ``SLICE``."""
    for start in range(0, count, SLICE):
        yield slice(start, start + SLICE)
