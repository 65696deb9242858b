"""Ids made integers, each of one record.

What others refer to keeps its number; only annotations, to which no others but their parts refer,
get new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perception.formats.verify.annotations import Index
from perception.formats.verify.ids import are_all_zero
from perception.formats.verify.parents import follow_parents
from perception.formats.verify.records import Placed, Record, as_int, is_int


def with_integer_id(one: Placed, index: Index) -> Record:
    """A picture or class with the integer that its id, n.0 or text, can only mean.

    The record itself where the id is an integer, means none, or means one that another one has.
    """
    value = one.record.get("id")
    number = None if is_int(value) else as_int(value)
    meant = None if number is None else index.meanings.get(number)
    if meant is None or meant.record is not one.record:
        return one.record
    return {**one.record, "id": number}


def number_annotations(annotations: Sequence[Placed], counts: Counter[str]) -> dict[int, Record]:
    """Annotations by where they stood, each with an id of its own.

    Whoever has an integer first keeps it; the others are numbered after the largest. An id that is
    a text stays as ``uid``, unless there is one.
    """
    all_zero = are_all_zero(annotations)
    taken: dict[int, Placed] = {}
    for only_integers in (True, False):
        for one in annotations:
            value = one.record.get("id")
            number = as_int(value)
            if number and is_int(value) is only_integers:
                taken.setdefault(number, one)
    owners = {one.place.index: number for number, one in taken.items()}
    last = max([0, *taken])
    made: dict[int, Record] = {}
    for place, record in annotations:
        number = owners.get(place.index)
        if number is None:
            last += 1
            number = last
        made[place.index] = record
        if not is_int(record.get("id")) or record["id"] != number:
            counts[_code(record.get("id"), all_zero=all_zero)] += 1
            made[place.index] = _renamed(record, number)
    return follow_parents(annotations, made)


def _renamed(record: Record, number: int) -> Record:
    old = record.get("id")
    new = {**record, "id": number}
    if isinstance(old, str) and as_int(old) is None:
        new.setdefault("uid", old)
    return new


def _code(value: object, *, all_zero: bool) -> str:
    if value is None:
        return "annotation-id-missing"
    if not is_int(value):
        return "annotation-id-type"
    if value:
        return "annotation-id-duplicate"
    return "annotation-ids-all-zero" if all_zero else "annotation-id-zero"
