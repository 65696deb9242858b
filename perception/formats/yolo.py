"""YOLO: a data set that training starts from, with boxes or polygons as parts of width and height.

``data.yaml`` names the classes; ``labels/<picture>.txt`` has a line an instance; ``images/`` beside
it has the pictures, as links or copies, because YOLO finds the labels of a picture by its path.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from perception.boxes import xyxy_to_cxcywh
from perception.errors import OutputError
from perception.formats.atomic import inside, part_of, whole_file
from perception.formats.outlines import SIMPLIFY, one_outline
from perception.formats.stems import Stems
from perception.images import printable
from perception.instances import Instances


def write_yolo(
    results: Iterable[Instances],
    folder: Path,
    *,
    classes: Sequence[str],
    polygons: bool = False,
    simplify: float = SIMPLIFY,
    images: Path | None = None,
    copy: bool = False,
) -> int:
    """Write results that come in order of their names; return how many instances there are.

    Args:
        results: An image with nothing found has an empty file.
        folder: Gets ``data.yaml``, ``labels/`` and ``images/``.
        classes: Of all results, in order.
        polygons: Outlines, out of which holes are cut, in place of boxes.
        simplify: How far outlines may be from the pixels' steps, in pixels, for fewer corners.
        images: The folder that the names start from; None leaves ``images/`` out.
        copy: Whether ``images/`` gets copies; else links, and copies where these can't be made.

    Raises:
        OutputError: If a file can't be written, or for names that YOLO can't tell apart.
    """
    count, stems, gone = 0, Stems("YOLO"), 0
    for result in results:
        lines = [_line(result, n, polygons, simplify) for n in range(len(result))]
        path = inside(folder / "labels", f"{stems(result.file_name)}.txt")
        with whole_file(path) as file:
            file.write("".join(lines).encode("ascii"))
        count += len(lines)
        if images is not None and not _bring(images, folder / "images", result.file_name, copy):
            gone += 1
    with whole_file(folder / "data.yaml") as file:
        # Without "path" YOLO starts from this file's folder. A JSON string is a YAML string.
        names = [f"  {n}: {json.dumps(name)}\n" for n, name in enumerate(classes)]
        header = f"train: images\nval: images\nnc: {len(classes)}\nnames:\n"
        file.write((header + "".join(names)).encode())
    if gone:
        warnings.warn(
            f"{gone:,} {'image is' if gone == 1 else 'images are'} no longer in "
            f"{printable(str(images))}: put them into {printable(str(folder / 'images'))}",
            RuntimeWarning,
            stacklevel=1,
        )
    return count


def _line(result: Instances, n: int, polygons: bool, simplify: float) -> str:
    height, width = result.image_hw
    if polygons and result.rles:
        parts = one_outline(result, n, simplify) / np.array([width, height])
    else:
        (box,) = xyxy_to_cxcywh(result.boxes[n : n + 1])
        parts = box / np.array([width, height] * 2)
    return f"{result.class_ids[n]} {' '.join(f'{part:.6g}' for part in parts.ravel())}\n"


def _bring(images: Path, folder: Path, name: str, copy: bool) -> bool:
    """Puts an image into the data set under its name; False if it isn't there any more."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise OutputError(f"{printable(name)}: the name of an image leads out of its folder")
    source, target = (images / relative).absolute(), folder / relative
    if not source.is_file():
        return False
    try:
        if target.exists() and target.samefile(source):
            if not (copy and target.is_symlink()):
                return True  # From an earlier time, or the images lie there by themselves.
        elif target.exists() and not target.is_symlink() and not copy:
            return True  # A copy stays.
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"{printable(str(target))}: can't be written ({why})") from None
    if copy or not _link(source, target):
        with part_of(target) as part:
            shutil.copyfile(source, part)
    return True


def _link(source: Path, target: Path) -> bool:
    """Makes a link that holds as long as both stay where they are to each other, if it can."""
    try:
        target.unlink(missing_ok=True)  # A link to another place.
        target.symlink_to(os.path.relpath(source, target.parent.resolve()))
    except (OSError, ValueError):  # No right to make links, or another drive.
        return False
    return True
