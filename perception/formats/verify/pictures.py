"""Whether a COCO file's pictures have a name and a size, and names that lead to a file anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perception.formats.verify.faults import Findings, brief
from perception.formats.verify.records import Placed, image_hw, is_int, shown

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")


def check_pictures(findings: Findings, images: Sequence[Placed]) -> None:
    """Checks names and sizes."""
    first: dict[str, Placed] = {}
    for one in images:
        place, image = one
        _check_size(findings, one)
        name = image.get("file_name")
        if not isinstance(name, str) or not name:
            findings.add("image-file-name-missing", place, shown(image, "file_name"))
            continue
        for code in path_faults(name):
            findings.add(code, place, brief(name))
        if first.setdefault(name, one) is not one:
            findings.add(
                "image-file-name-duplicate", place, f"{brief(name)}, as {first[name].place}"
            )


def path_faults(name: str) -> list[str]:
    """The codes of what keeps a file_name from being a relative POSIX path."""
    if _URL.match(name):
        return ["image-path-url"]
    faults = []
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        faults.append("image-path-absolute")
    if "\\" in name:
        faults.append("image-path-backslash")
    if ".." in re.split(r"[\\/]", name):
        faults.append("image-path-parent")
    return faults


def _check_size(findings: Findings, one: Placed) -> None:
    place, image = one
    sides = [image.get("width"), image.get("height")]
    detail = f"{shown(image, 'width')}, {shown(image, 'height')}"
    if None in sides:
        findings.add("image-size-missing", place, detail)
        return
    if not all(map(is_int, sides)):
        findings.add("image-size-type", place, detail)
    elif image_hw(image) is None:
        findings.add("image-size-range", place, detail)
