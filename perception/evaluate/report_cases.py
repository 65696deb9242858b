"""The worst cases in a page: what is right and what was answered, side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from perception.annotate.review.markup import Tree, tag
from perception.errors import ImageError
from perception.evaluate.case_pictures import draw_case
from perception.evaluate.measurement import Case
from perception.evaluate.picture_files import picture_path
from perception.images import printable, read_image
from perception.types import ImageArray

_QUALITY = 82
_BLANK = 205
"""The grey of a picture that isn't there."""


def case_list(cases: Sequence[Case], images: Path | None) -> Iterator[Tree]:
    """Cases with their pictures; images: the folder of these, or None for a blank ground."""
    drawn: dict[int, Tree] = {}
    numbered = sorted(enumerate(cases), key=lambda one: one[1].file_name)
    for name, group in groupby(numbered, key=lambda one: one[1].file_name):
        some = list(group)
        image, why = _read(name, images, some[0][1].truth.image_hw)
        for n, case in some:
            drawn[n] = _tile(n + 1, case, image, why)
    yield tag("p", _legend(cases), class_="soft")
    yield tag("ol", *(drawn[n] for n in range(len(cases))), class_="cases")


def _legend(cases: Sequence[Case]) -> str:
    text = "Left: what is right; right: what was answered."
    if any(len(case.points) for case in cases):
        text += " Green plus: a click in the thing; red minus: outside it; the first is larger."
    if any("unknown" in case.truth.classes for case in cases):
        text += " Blue on the left: nobody has judged these pixels, they don't count."
    return text


def _read(name: str, images: Path | None, image_hw: tuple[int, int]) -> tuple[ImageArray, str]:
    """A case's picture, H x W x 3; or a blank one, and why."""
    blank = np.full((*image_hw, 3), _BLANK, np.uint8)
    if images is None:
        return blank, ""
    path = picture_path(images, name)
    try:
        image = read_image(path)
    except ImageError as error:
        return blank, str(error).removeprefix(f"{printable(str(path))}: ")
    if image.shape[:2] != image_hw:
        return blank, "the picture has another size now"
    return image, ""


def _tile(number: int, case: Case, image: ImageArray, why: str) -> Tree:
    name = printable(case.file_name)
    panels = zip(("what is right", "what was answered"), draw_case(case, image), strict=True)
    pictures = [_picture(panel, f"{words}: {printable(case.caption)}") for words, panel in panels]
    caption = tag(
        "figcaption",
        tag("b", f"{number}. {case.value:.2f}"),
        f" {printable(case.caption)}",
        tag("span", name, class_="name"),
    )
    if why:
        caption.append(tag("span", printable(why), class_="why"))
    figure = tag("figure", tag("div", *pictures, class_="pair"), caption, title=name)
    return tag("li", figure)


def _picture(panel: ImageArray, words: str) -> Tree:
    file = io.BytesIO()
    Image.fromarray(panel).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}",
        width=panel.shape[1],
        height=panel.shape[0],
        alt=words,
        loading="lazy",
        decoding="async",
    )
