"""The records of a COCO file whose content nobody has checked: pictures, classes, annotations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from perception.formats.verify.faults import brief

Record = dict[str, Any]
Key = int | float | str
Numbers = NDArray[np.float64]
"""In double precision: what a file says is compared with what is right, to its last decimal."""

LONGEST_SIDE = 10**9
"""Pixels; beyond it a number is no side of a picture."""

ROOMS = {"image": "images", "category": "categories", "annotation": "annotations"}
"""What one record of each top-level list is called."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands, for people: by its id, or by its index where the id says nothing."""

    kind: str
    index: int
    id: object

    @property
    def room(self) -> str:
        """The top-level list that it stands in."""
        return ROOMS[self.kind]

    def __str__(self) -> str:
        if is_int(self.id) and self.id:
            return f"{self.kind} {self.id}"
        return f"{self.room}[{self.index}]"


class Placed(NamedTuple):
    """One record and where it stands."""

    place: Place
    record: Record


def records(content: Mapping[str, Any], kind: str) -> list[Placed]:
    """The records of a kind ("image", "category", "annotation"); what is no object is left out."""
    entries = content.get(ROOMS[kind])
    if not isinstance(entries, list):
        return []
    return [
        Placed(Place(kind, n, record.get("id")), record)
        for n, record in enumerate(entries)
        if isinstance(record, dict)
    ]


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is an integer; true and false are none."""
    return type(value) is int


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number; true and false are none."""
    # Integers beyond a float's range are no number that anything here could use.
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)


def as_int(value: object) -> int | None:
    """The integer that 7, 7.0 or "7" can only mean; None for anything else."""
    if is_int(value):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return None


def as_key(value: object) -> Key | None:
    """A value as a key to find a record by; None if it can be none."""
    if is_number(value) or isinstance(value, str):
        return value
    return None


def by_id(placed: Iterable[Placed]) -> dict[Key, Placed]:
    """Records by their ids; of several with one id, the first."""
    found: dict[Key, Placed] = {}
    for one in placed:
        key = as_key(one.record.get("id"))
        if key is not None:
            found.setdefault(key, one)
    return found


def by_meaning(index: Mapping[Key, Placed]) -> dict[int, Placed | None]:
    """Records by the integers that their ids can only mean; None where two mean the same."""
    found: dict[int, Placed | None] = {}
    for key, one in index.items():
        number = as_int(key)
        if number is not None:
            found[number] = None if number in found else one
    return found


def image_hw(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """A picture's (height, width), None if they are no sizes; n.0 and numbers as text count."""
    height, width = as_int(image.get("height")), as_int(image.get("width"))
    if height is None or width is None:
        return None
    sizes = 0 < height <= LONGEST_SIDE and 0 < width <= LONGEST_SIDE
    return (height, width) if sizes else None


def pixels(hw: tuple[int, int]) -> str:
    """A size (height, width) for people, width first."""
    return f"{hw[1]} x {hw[0]}"


def shown(record: Mapping[str, Any], field: str) -> str:
    """``bbox [1, 2, 3, 4]``, shortened."""
    return f"{field} {brief(record.get(field))}"
