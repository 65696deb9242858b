"""All checks of a COCO file's content, and of its images as files.

Only headers are read: an image that is damaged further on isn't noticed.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perception.coco.lint.annotations import (
    Index,
    Watch,
    check_annotations,
    check_ids,
    check_parents,
    find_duplicates,
)
from perception.coco.lint.faults import Findings, brief
from perception.coco.lint.fields import check_classes, check_negatives
from perception.coco.lint.read import ROOMS, Placed, image_hw, is_int, pixels, records, shown
from perception.errors import CocoError, ImageError
from perception.imaging.discover import find_images
from perception.imaging.read import HeaderSize, printable, read_header


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


_QUARTER_TURNS = 5  # The EXIF orientations from this on change width and height over.

FileWatch = Callable[[Sequence[Placed]], Iterable[Placed]]
"""Passes the images on and may show how far the work is."""


def check_files(
    findings: Findings, content: Mapping[str, Any], folder: Path, *, watch: FileWatch = iter
) -> None:
    """Checks the files of all images that a COCO file lists, and what else lies in the folder.

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
    """The names of images below a folder, none if there are none."""
    try:
        yield from (picture.name for picture in find_images([str(folder)]))
    except ImageError:
        return


def _last_part(name: str) -> str:
    """A file's own name, as it would be after a move from another system."""
    return name.replace("\\", "/").rpartition("/")[2].casefold()


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
