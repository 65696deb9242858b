"""All checks of a COCO file's content; ``faults.KINDS`` lists what they look for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from perception.formats.verify.annotations import Index, Watch, check_annotations
from perception.formats.verify.classes import check_classes, check_negatives
from perception.formats.verify.duplicates import find_duplicates
from perception.formats.verify.faults import Findings, brief
from perception.formats.verify.ids import check_ids
from perception.formats.verify.parents import check_parents
from perception.formats.verify.pictures import check_pictures
from perception.formats.verify.records import ROOMS, records


def lint(content: Mapping[str, Any], findings: Findings, *, watch: Watch = iter) -> None:
    """Checks the content of a COCO instances file, as ``reading.read_coco`` gives it.

    watch: passes the annotations on and may show how far the work is. Whatever the content is,
    nothing is raised, and nothing in it is changed.
    """
    _check_top_level(content, findings)
    images, categories, annotations = (records(content, kind) for kind in ROOMS)
    check_ids(findings, "image", images)
    check_ids(findings, "category", categories)
    check_ids(findings, "annotation", annotations)
    check_pictures(findings, images)
    check_classes(findings, categories)
    classes = Index.of(categories)
    check_negatives(findings, images, annotations, classes.ids)
    check_annotations(findings, annotations, Index.of(images), classes, watch=watch)
    check_parents(findings, annotations)
    for one, twin in find_duplicates(annotations):
        findings.add("annotation-duplicate", one.place, f"as {twin.place}")


def _check_top_level(content: Mapping[str, Any], findings: Findings) -> None:
    for room in ROOMS.values():
        entries = content.get(room)
        if entries is None:
            findings.add("top-level-missing", room)
        elif not isinstance(entries, list):
            findings.add("top-level-type", room, brief(entries))
        else:
            for n, entry in enumerate(entries):
                if not isinstance(entry, dict):
                    findings.add("record-type", f"{room}[{n}]", brief(entry))
    if not isinstance(content.get("info"), dict):
        findings.add("info-missing")
    for key, value in content.items():
        entries = value if isinstance(value, list) else [value]
        for n, entry in enumerate(entries):
            if not is_finite(entry):
                findings.add("json-non-finite", f"{key}[{n}]" if entries is value else key)


def is_finite(value: object) -> bool:
    """Whether there is no NaN and no infinity in a JSON value, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return True
