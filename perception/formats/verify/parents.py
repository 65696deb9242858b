"""Parts and wholes: ``parent_id``, the annotation of one picture that another one is a part of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perception.formats.verify.faults import Findings
from perception.formats.verify.records import Key, Placed, Record, as_key, shown

_Place = tuple[Key | None, Key | None]
"""What an annotation is found by: the ids of its picture and of itself."""


def check_parents(findings: Findings, annotations: Sequence[Placed]) -> None:
    """Checks that each ``parent_id`` is the id of another annotation of the same picture."""
    owners = _owners(annotations)
    for one in annotations:
        if one.record.get("parent_id") is None:
            continue
        found = owners.get(_parent(one.record), [])
        if not any(index != one.place.index for index in found):
            findings.add("parent-unknown", one.place, shown(one.record, "parent_id"))


def follow_parents(before: Sequence[Placed], made: Mapping[int, Record]) -> dict[int, Record]:
    """Annotations that got new ids, by where they stood; parts know their wholes by these.

    before: the same with their old ids. What was no id of one other annotation stays as it is.
    """
    owners = _owners(before)
    followed = dict(made)
    for place, record in before:
        found = owners.get(_parent(record), []) if record.get("parent_id") is not None else []
        if len(found) == 1 and made[found[0]]["id"] != record["parent_id"]:
            followed[place.index] = {**made[place.index], "parent_id": made[found[0]]["id"]}
    return followed


def _owners(annotations: Iterable[Placed]) -> dict[_Place, list[int]]:
    """Which annotations, by where they stand, have an id in a picture."""
    owners: dict[_Place, list[int]] = {}
    for place, record in annotations:
        if as_key(record.get("id")) is not None:
            key = as_key(record.get("image_id")), as_key(record.get("id"))
            owners.setdefault(key, []).append(place.index)
    return owners


def _parent(record: Record) -> _Place:
    return as_key(record.get("image_id")), as_key(record.get("parent_id"))
