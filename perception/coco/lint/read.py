"""Reading a file that should be COCO, record by record.

The whole of it is in memory at once, as ``json`` makes it: some five times the file's size for
polygons, less for run lengths. COCO's annotations, images and categories may come in any order and
refer to each other, and every loader holds them all as well.
"""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from perception.coco.lint.faults import Findings, brief
from perception.errors import CocoError
from perception.imaging.read import printable

# Files that are met where a COCO file should be, by a key that is theirs alone.
_OTHER_KINDS = {
    "shapes": "a labelme file",
    "features": "a GeoJSON file",
    "_via_img_metadata": "a VIA project",
}
_DEEPEST = 64  # COCO itself needs six.
_REMEDY = "expected COCO instances: an object with images, annotations and categories"


def read_coco(path: Path, findings: Findings) -> dict[str, Any]:
    """The content of a COCO instances file, not yet checked.

    What is wrong with its JSON goes to ``findings``. Raises CocoError for a file that can't be
    read, isn't JSON or holds something else.
    """
    name = printable(str(path))
    content = _parsed(_bytes(path, name), name, findings)
    other = _other_kind(content)
    if other:
        raise CocoError(f"{name}: {other}; {_REMEDY}")
    if not _is_shallow(content):
        raise CocoError(f"{name}: lists and objects {_DEEPEST} deep; {_REMEDY}")
    return dict(content)


def _bytes(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CocoError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise CocoError(f"{name}: a folder; name the COCO file in it") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CocoError(f"{name}: can't be read ({why}); check the path") from None


def _parsed(raw: bytes, name: str, findings: Findings) -> Any:
    encoding = json.detect_encoding(raw)
    if encoding != "utf-8":
        mark = " with a byte-order mark" if raw.startswith(codecs.BOM_UTF8) else ""
        findings.add("json-encoding", "the file", encoding.replace("-sig", mark))

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            _report_twice(pairs, record, findings)
        return record

    if not raw.strip():
        raise CocoError(f"{name}: empty; {_REMEDY}")
    try:
        return json.loads(raw.decode(encoding, "surrogatepass"), object_pairs_hook=take)
    except UnicodeDecodeError as error:
        why = f"byte {error.start} is no {error.encoding}"
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (RecursionError, ValueError) as error:
        # Brackets in thousands, integers of thousands of digits.
        why = str(error).partition(";")[0]
    raise CocoError(f"{name}: not JSON ({why}); {_REMEDY}")


def _is_shallow(content: dict[str, Any]) -> bool:
    """Whether a JSON value can be walked through without running out of stack."""
    level: list[Any] = [content]
    for _ in range(_DEEPEST):
        if not level:
            return True
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [child for row in inner for child in row if isinstance(child, (dict, list))]
    return False


def _report_twice(
    pairs: list[tuple[str, Any]], record: Mapping[str, Any], findings: Findings
) -> None:
    key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
    findings.add(
        "json-duplicate-key", detail=f"{brief(key)}, in an object with {shown(record, 'id')}"
    )


def _other_kind(content: object) -> str:
    """What a file holds if not COCO instances; "" if it may be COCO instances."""
    if isinstance(content, list):
        first = content[0] if content else None
        if isinstance(first, dict) and "image_id" in first:
            return "a list of results (for COCO.loadRes), which lists no images or categories"
        return "a list"
    if not isinstance(content, dict):
        return f"{brief(content)} and nothing else"
    if not {"images", "annotations"} & content.keys():
        kinds = [kind for key, kind in _OTHER_KINDS.items() if key in content]
        return next(iter(kinds), "neither images nor annotations in it")
    annotations = content.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    if isinstance(first, dict):
        if "segments_info" in first:
            return "COCO panoptic, whose masks are PNG files"
        if "caption" in first and not {"bbox", "segmentation", "category_id"} & first.keys():
            return "COCO captions, without boxes or masks"
    return ""


Record = dict[str, Any]
Key = int | float | str
Numbers = NDArray[np.float64]
"""In double precision: what a file says is compared with what is right, to its last decimal."""

LONGEST_SIDE = 10**9
"""Pixels; beyond it a number is no side of an image."""

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
    """An image's (height, width), None if they are no sizes; n.0 and numbers as text count."""
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
