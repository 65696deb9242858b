"""Whether a COCO file's classes have names that differ, and what LVIS says of absent ones holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perception.formats.verify.faults import Findings, brief
from perception.formats.verify.records import Key, Placed, Record, as_key, is_int, shown

_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


def check_classes(findings: Findings, categories: Sequence[Placed]) -> None:
    """Checks the names of the classes."""
    first: dict[str, Placed] = {}
    alike: dict[str, Placed] = {}
    for one in categories:
        place, category = one
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            findings.add("category-name-missing", place, shown(category, "name"))
            continue
        folded = " ".join(name.casefold().split())
        if first.setdefault(name, one) is not one:
            findings.add("category-name-duplicate", place, f"{brief(name)}, as {first[name].place}")
        elif alike.setdefault(folded, one) is not one:
            other = alike[folded]
            detail = f"{brief(name)}, and {brief(other.record['name'])} of {other.place}"
            findings.add("category-name-similar", place, detail)


def check_negatives(
    findings: Findings,
    images: Sequence[Placed],
    annotations: Sequence[Placed],
    categories: Mapping[Key, Placed],
) -> None:
    """Checks LVIS's fields: classes that a picture doesn't hold, or of which it doesn't show all.

    categories: by their ids.
    """
    lists = [one for one in images if any(field in one.record for field in _LISTS)]
    annotated = _annotated(annotations) if lists else {}
    for place, image in lists:
        for field in _LISTS:
            ids = image.get(field, [])
            if not isinstance(ids, list) or not all(map(is_int, ids)):
                findings.add("negative-form", place, shown(image, field))
                continue
            unknown = [n for n in ids if n not in categories]
            if unknown:
                findings.add("negative-unknown", place, f"{field} {brief(unknown)}")
            found = annotated.get(as_key(image.get("id")), set()).intersection(ids)
            if found and field == "neg_category_ids":
                findings.add("negative-annotated", place, _names(sorted(found), categories))


def _annotated(annotations: Sequence[Placed]) -> dict[Key | None, set[Key]]:
    """The classes that are annotated in each picture, by ids."""
    found: dict[Key | None, set[Key]] = {}
    for _, annotation in annotations:
        category = as_key(annotation.get("category_id"))
        if category is not None:
            found.setdefault(as_key(annotation.get("image_id")), set()).add(category)
    return found


def _names(ids: Sequence[Key], categories: Mapping[Key, Placed]) -> str:
    records: list[Record] = [categories[n].record if n in categories else {} for n in ids]
    return ", ".join(
        f"{n} {brief(record.get('name'))}" for n, record in zip(ids, records, strict=True)
    )
