"""Whether the ids of one kind of record are there, integers, and each of one record."""

from __future__ import annotations

from collections.abc import Sequence

from perception.formats.verify.faults import Findings
from perception.formats.verify.records import Key, Placed, as_int, as_key, is_int, shown


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
