"""Reading a file that should be COCO.

The whole of it is in memory at once, as ``json`` makes it: some five times the file's size for
polygons, less for run lengths. COCO's annotations, images and categories may come in any order and
refer to each other, and every loader holds them all as well.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perception.errors import CocoError
from perception.formats.verify.faults import Findings, brief
from perception.formats.verify.records import shown
from perception.images import printable

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
            return "a list of results (for COCO.loadRes), which lists no pictures or categories"
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
