"""Whether each annotation of a COCO file belongs somewhere, and says what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from perception.formats.verify.areas import area_fault
from perception.formats.verify.boxes import are_corners, as_bbox, bbox_fault
from perception.formats.verify.faults import Findings
from perception.formats.verify.records import (
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
from perception.formats.verify.segmentation import (
    Segmentation,
    Size,
    is_absent,
    read_segmentation,
)

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
    """Checks each annotation by itself, against its picture and its class."""
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
    other = box is not None and box[0] in ("bbox-xyxy", "bbox-normalised")
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
