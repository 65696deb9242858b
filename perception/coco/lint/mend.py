"""Mending a COCO file where there is only one way to do it.

What could be meant in two ways is left as it is: a box beside its mask, an annotation of an unknown
class, run lengths that don't add up. Nothing else is lost: fields that COCO doesn't know stay, and
so do records that are in order.

What others refer to keeps its number; only annotations, to which no others but their parts refer,
get new ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from perception.coco.lint.annotations import (
    Index,
    are_all_zero,
    are_same,
    find_duplicates,
    follow_parents,
    have_corners,
)
from perception.coco.lint.faults import Findings
from perception.coco.lint.lint import is_finite
from perception.coco.lint.mend_shapes import is_nothing, mend_shape
from perception.coco.lint.read import ROOMS, Placed, Record, as_int, image_hw, is_int, records

_BY_WRITING = ("json-encoding", "json-duplicate-key")


class Mended(NamedTuple):
    """A file's new content, and how many faults of each kind it no longer has."""

    content: dict[str, Any]
    counts: Counter[str]


def mend(content: Mapping[str, Any], found: Findings) -> Mended:
    """The content with all that is certain mended; the content that is given isn't changed.

    found: what reading the file found, which the next writing mends.
    """
    counts = Counter(
        {fault.code: fault.count for fault in found.faults() if fault.code in _BY_WRITING}
    )
    made = {key: _finite_entries(value, counts) for key, value in content.items()}
    if made.get("info") is None:
        made = {**made, "info": {}} if "info" in made else {"info": {}, **made}
        counts["info-missing"] += 1
    images, categories = (Index.of(records(made, kind)) for kind in ("image", "category"))
    annotations = _annotations(made, images, categories, counts)
    for kind, index in (("image", images), ("category", categories)):
        _put(made, kind, _lists(records(made, kind), kind, index, counts))
    _put(made, "annotation", annotations)
    return Mended(made, counts)


def _annotations(
    made: Mapping[str, Any], images: Index, categories: Index, counts: Counter[str]
) -> dict[int, Record]:
    """The annotations that stay, mended, by where they stood."""
    placed = records(made, "annotation")
    corners = have_corners(placed, images)
    kept: list[Placed] = []
    for place, record in placed:
        new = _annotation(record, images, categories, counts, corners=corners)
        if new is not None:
            kept.append(Placed(place, new))
    copies = {
        one.place.index for one, twin in find_duplicates(kept) if are_same(one.record, twin.record)
    }
    counts["annotation-duplicate"] += len(copies)
    kept = [one for one in kept if one.place.index not in copies]
    return number_annotations(_without_orphans(kept, images, counts), counts)


def _without_orphans(placed: list[Placed], images: Index, counts: Counter[str]) -> list[Placed]:
    """The annotations of images that are there; all, if half of them have none."""
    at_home = [one for one in placed if images.find(one.record.get("image_id")) is not None]
    if len(at_home) * 2 <= len(placed):
        return placed  # Not a few lost ones, but ids that were mixed up.
    counts["image-orphan"] += len(placed) - len(at_home)
    return at_home


def _annotation(
    record: Record, images: Index, categories: Index, counts: Counter[str], *, corners: bool
) -> Record | None:
    """One annotation, mended; None if it stands for nothing."""
    image = images.find(record.get("image_id"))
    hw = None if image is None else image_hw(image.record)
    nothing = is_nothing(record, hw)
    if nothing:
        counts[nothing] += 1
        return None
    new = dict(record)
    _mend_reference(new, "image_id", images, counts)
    _mend_reference(new, "category_id", categories, counts)
    _mend_crowd(new, counts)
    return mend_shape(new, hw, corners=corners, counts=counts)


def _mend_reference(new: Record, field: str, index: Index, counts: Counter[str]) -> None:
    found = index.find(new.get(field))
    if found is None or is_int(new[field]):
        return
    meant = with_integer_id(found, index)["id"]
    if is_int(meant):
        new[field] = meant
        counts["reference-type"] += 1


def _mend_crowd(new: Record, counts: Counter[str]) -> None:
    crowd = new.get("iscrowd")
    if crowd is None:
        new["iscrowd"] = 0
        counts["iscrowd-missing"] += 1
    elif not is_int(crowd):
        meant = int(crowd) if isinstance(crowd, bool) else as_int(crowd)
        if meant in (0, 1):
            new["iscrowd"] = meant
            counts["iscrowd-value"] += 1


def _lists(
    placed: list[Placed], kind: str, index: Index, counts: Counter[str]
) -> dict[int, Record]:
    """The images or classes that stay, mended, by where they stood."""
    kept: dict[int, Record] = {}
    for one in placed:
        first = index.find(one.record.get("id"))
        if first is not None and _is_copy(one.record, first.record):
            counts[f"{kind}-id-duplicate"] += 1
            continue
        new = with_integer_id(one, index)
        if new != one.record:
            counts[f"{kind}-id-type"] += 1
        kept[one.place.index] = _picture(new, counts) if kind == "image" else new
    return kept


def _is_copy(one: Record, first: Record) -> bool:
    return one is not first and one == first


def _picture(record: Record, counts: Counter[str]) -> Record:
    new, hw = dict(record), image_hw(record)
    if hw is not None and not all(is_int(record[side]) for side in ("height", "width")):
        new["height"], new["width"] = hw
        counts["image-size-type"] += 1
    name = record.get("file_name")
    if isinstance(name, str) and "\\" in name:
        new["file_name"] = name.replace("\\", "/")
        counts["image-path-backslash"] += 1
    return new


def _put(made: dict[str, Any], kind: str, kept: Mapping[int, Record]) -> None:
    """Puts mended records in the place of the old ones; entries that are no records stay."""
    entries = made.get(ROOMS[kind])
    if isinstance(entries, list):
        made[ROOMS[kind]] = [
            kept.get(n, entry)
            for n, entry in enumerate(entries)
            if n in kept or not isinstance(entry, dict)
        ]


def _finite_entries(value: Any, counts: Counter[str]) -> Any:
    """A top-level value; null stands in each entry where NaN and infinity were."""
    if not isinstance(value, list):
        (value,) = _finite_entries([value], counts)
        return value
    finite = [is_finite(entry) for entry in value]
    counts["json-non-finite"] += finite.count(False)
    if all(finite):
        return value
    return [
        entry if is_fine else _finite(entry) for entry, is_fine in zip(value, finite, strict=True)
    ]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


def with_integer_id(one: Placed, index: Index) -> Record:
    """An image or class with the integer that its id, n.0 or text, can only mean.

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
