"""Annotations that stand in a file twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perception.formats.verify.faults import brief
from perception.formats.verify.records import Placed, Record

_FIELDS = ("image_id", "category_id", "bbox", "segmentation")
_NAMES = {"id", "uid"}


def find_duplicates(annotations: Sequence[Placed]) -> Iterator[tuple[Placed, Placed]]:
    """Annotations with picture, class, box and mask of an earlier one, each with that one."""
    # Only those that begin alike are compared: masks are long.
    earlier: dict[tuple[str, ...], list[Placed]] = {}
    for one in annotations:
        values = _values(one)
        group = earlier.setdefault(tuple(map(brief, values)), [])
        twin = next((other for other in group if values == _values(other)), None)
        if twin is None:
            group.append(one)
        else:
            yield one, twin


def are_same(one: Record, other: Record) -> bool:
    """Whether two annotations differ in nothing but their names: id and uid."""
    fields = (one.keys() | other.keys()) - _NAMES
    return all(field in one and field in other and one[field] == other[field] for field in fields)


def _values(one: Placed) -> list[object]:
    return [one.record.get(field) for field in _FIELDS]
