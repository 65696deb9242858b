"""Whether a COCO file's pictures are there as files, and have the size that it says.

Only headers are read: a picture that is damaged further on isn't noticed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perception.errors import CocoError, ImageError
from perception.formats.verify.faults import Findings, brief
from perception.formats.verify.pictures import path_faults
from perception.formats.verify.records import Placed, image_hw, pixels, records
from perception.images import HeaderSize, printable, read_header
from perception.inputs import find_images

_QUARTER_TURNS = 5  # The EXIF orientations from this on change width and height over.

Watch = Callable[[Sequence[Placed]], Iterable[Placed]]
"""Passes the pictures on and may show how far the work is."""


def check_files(
    findings: Findings, content: Mapping[str, Any], folder: Path, *, watch: Watch = iter
) -> None:
    """Checks the files of all pictures that a COCO file lists, and what else lies in the folder.

    Raises CocoError if there is no such folder.
    """
    if not folder.is_dir():
        raise CocoError(f"{printable(str(folder))}: no such folder; check --images")
    there = list(_pictures_in(folder))
    elsewhere: defaultdict[str, list[str]] = defaultdict(list)
    for found in there:
        elsewhere[_last_part(found)].append(found)
    listed: set[str] = set()
    for one in watch(records(content, "image")):
        name = one.record.get("file_name")
        if not isinstance(name, str) or not name or "image-path-url" in path_faults(name):
            continue
        listed.add(os.path.normpath(name))
        if "\0" in name or not os.path.lexists(folder / name):
            _report_missing(findings, one, elsewhere)
        else:
            _check_file(findings, one, folder / name)
    for found in there:
        if os.path.normpath(found) not in listed:
            findings.add("file-unlisted", detail=brief(found))


def _report_missing(
    findings: Findings, one: Placed, elsewhere: Mapping[str, Sequence[str]]
) -> None:
    name = one.record["file_name"]
    found = elsewhere.get(_last_part(name), ())
    hint = f"; there is {brief(found[0])}" if len(found) == 1 else ""
    findings.add("file-missing", one.place, brief(name) + hint)


def _check_file(findings: Findings, one: Placed, path: Path) -> None:
    place, name = one.place, brief(one.record["file_name"])
    try:
        header = read_header(path)
    except ImageError as error:
        # It begins with the path.
        findings.add("file-unreadable", place, str(error))
        return
    listed_hw = image_hw(one.record)
    if listed_hw is None:
        return
    if listed_hw == header.image_hw:
        if header.orientation != 1:
            findings.add("file-exif-turned", place, f"{name}, orientation {header.orientation}")
    elif _is_stored_size(listed_hw, header):
        detail = f"{name} is {pixels(header.image_hw)} upright, listed {pixels(listed_hw)}"
        findings.add("file-exif-stored", place, detail)
    else:
        detail = f"{name} is {pixels(header.image_hw)}, listed {pixels(listed_hw)}"
        findings.add("file-size", place, detail)


def _is_stored_size(listed_hw: tuple[int, int], header: HeaderSize) -> bool:
    return header.orientation >= _QUARTER_TURNS and listed_hw == header.stored_hw


def _pictures_in(folder: Path) -> Iterator[str]:
    """The names of pictures below a folder, none if there are none."""
    try:
        yield from (picture.name for picture in find_images([str(folder)]))
    except ImageError:
        return


def _last_part(name: str) -> str:
    """A file's own name, as it would be after a move from another system."""
    return name.replace("\\", "/").rpartition("/")[2].casefold()
