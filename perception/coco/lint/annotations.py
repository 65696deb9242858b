"""Checks of annotations: ids, duplicates, parents, and what they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from perception.coco.lint.faults import Findings, brief
from perception.coco.lint.fields import are_corners, area_fault, as_bbox, bbox_fault
from perception.coco.lint.read import (
    ROOMS,
    Key,
    Placed,
    Record,
    as_int,
    as_key,
    by_id,
    by_meaning,
    image_hw,
    is_int,
    is_number,
    shown,
)
from perception.coco.lint.segmentation import Segmentation, Size, is_absent, read_segmentation

Watch = Callable[[Sequence[Placed]], Iterable[Placed]]
"""Passes the annotations on and may show how far the work is."""


class Index(NamedTuple):
    """Records of one kind, to be found by what annotations call them."""

    ids: Mapping[Key, Placed]
    meanings: Mapping[int, Placed | None]

    @classmethod
    def of(cls, placed: Iterable[Placed]) -> Index:
        """An index of records by their ids."""
        ids = by_id(placed)
        return cls(ids, by_meaning(ids))

    def find(self, reference: object) -> Placed | None:
        """The record with this id, or the only one whose id can mean the same integer."""
        key, meaning = as_key(reference), as_int(reference)
        exact = None if key is None else self.ids.get(key)
        if exact is not None or meaning is None:
            return exact
        return self.meanings.get(meaning)


def check_annotations(
    findings: Findings,
    annotations: Sequence[Placed],
    images: Index,
    categories: Index,
    *,
    watch: Watch = iter,
) -> None:
    """Checks each annotation by itself, against its image and its class."""
    masked = sum(not is_absent(one.record.get("segmentation")) for one in annotations)
    corners = have_corners(annotations, images)
    if annotations and not masked:
        findings.add("boxes-only", detail=f"{len(annotations)} annotations")
    for one in watch(annotations):
        image = _check_reference(findings, one, "image", images)
        _check_reference(findings, one, "category", categories)
        hw = None if image is None else image_hw(image)
        segmentation = read_segmentation(one.record.get("segmentation"), hw)
        if masked and is_absent(one.record.get("segmentation")):
            findings.add("segmentation-missing", one.place)
        _check_shape(findings, one, segmentation, hw, corners=corners)
        _check_crowd(findings, one)
        score = one.record.get("score", 0)
        if not is_number(score) or not 0 <= score <= 1:
            findings.add("score-value", one.place, shown(one.record, "score"))
        if "keypoints" in one.record:
            findings.add("keypoints-unchecked", one.place)


def have_corners(annotations: Iterable[Placed], images: Index) -> bool:
    """Whether the boxes without masks of a file are meant as two corners."""
    boxes = []
    for _, annotation in annotations:
        bbox, image = as_bbox(annotation.get("bbox")), images.find(annotation.get("image_id"))
        hw = None if image is None else image_hw(image.record)
        if bbox is not None and hw is not None and is_absent(annotation.get("segmentation")):
            boxes.append((bbox, hw))
    return are_corners(boxes)


def _check_reference(findings: Findings, one: Placed, kind: str, index: Index) -> Record | None:
    """The record that an annotation refers to."""
    field = f"{kind}_id"
    found = index.find(one.record.get(field))
    if found is None:
        detail = f"{shown(one.record, field)} is none of {len(index.ids)} {ROOMS[kind]}"
        findings.add(f"{kind}-orphan", one.place, detail)
        return None
    if not is_int(one.record[field]):
        findings.add("reference-type", one.place, shown(one.record, field))
    return found.record


def _check_shape(
    findings: Findings, one: Placed, segmentation: Segmentation, hw: Size | None, *, corners: bool
) -> None:
    place, annotation = one
    for code, detail in segmentation.faults:
        findings.add(code, place, detail)
    mask = segmentation.mask
    box = bbox_fault(annotation.get("bbox"), mask, hw, corners=corners)
    # A box in another layout says nothing about the area.
    other = box is not None and box[0] in ("bbox-xyxy", "bbox-normalized")
    bbox = None if other else annotation.get("bbox")
    for fault in (box, area_fault(annotation.get("area"), bbox, mask)):
        if fault is not None:
            findings.add(fault[0], place, fault[1])


def _check_crowd(findings: Findings, one: Placed) -> None:
    place, annotation = one
    crowd, segmentation = annotation.get("iscrowd"), annotation.get("segmentation")
    if crowd is None:
        findings.add("iscrowd-missing", place)
    elif not is_int(crowd) or crowd not in (0, 1):
        findings.add("iscrowd-value", place, shown(annotation, "iscrowd"))
    elif crowd and isinstance(segmentation, list) and segmentation:
        findings.add("crowd-polygon", place)
    elif not crowd and isinstance(segmentation, dict) and segmentation:
        findings.add("rle-not-crowd", place)


_FIELDS = ("image_id", "category_id", "bbox", "segmentation")
_NAMES = {"id", "uid"}


def find_duplicates(annotations: Sequence[Placed]) -> Iterator[tuple[Placed, Placed]]:
    """Annotations with image, class, box and mask of an earlier one, each with that one."""
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


def check_ids(findings: Findings, kind: str, placed: Sequence[Placed]) -> None:
    """Checks the ids of all records of a kind: "image", "category" or "annotation"."""
    all_zero = kind == "annotation" and are_all_zero(placed)
    first: dict[Key, Placed] = {}
    for one in placed:
        place, record = one
        value = record.get("id")
        if value is None:
            findings.add(f"{kind}-id-missing", place)
            continue
        if not is_int(value):
            findings.add(f"{kind}-id-type", place, shown(record, "id"))
        key = as_key(value)
        if key is None:
            continue
        if all_zero:
            findings.add("annotation-ids-all-zero", place)
        elif first.setdefault(key, one) is not one:
            other = f"{first[key].place.room}[{first[key].place.index}]"
            findings.add(f"{kind}-id-duplicate", place, f"also the id of {other}")
        if value == 0 and kind != "image" and not all_zero:
            findings.add(f"{kind}-id-zero", place)


def are_all_zero(placed: Sequence[Placed]) -> bool:
    """Whether several records all have id 0."""
    return len(placed) > 1 and all(as_int(one.record.get("id")) == 0 for one in placed)


_Place = tuple[Key | None, Key | None]
"""What an annotation is found by: the ids of its image and of itself."""


def check_parents(findings: Findings, annotations: Sequence[Placed]) -> None:
    """Checks that each ``parent_id`` is the id of another annotation of the same image."""
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
    """Which annotations, by where they stand, have an id in an image."""
    owners: dict[_Place, list[int]] = {}
    for place, record in annotations:
        if as_key(record.get("id")) is not None:
            key = as_key(record.get("image_id")), as_key(record.get("id"))
            owners.setdefault(key, []).append(place.index)
    return owners


def _parent(record: Record) -> _Place:
    return as_key(record.get("image_id")), as_key(record.get("parent_id"))
