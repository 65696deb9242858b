"""What can be wrong with a COCO file, and where it is.

Every kind of fault has a short code that stays the same from version to version.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from perception.imaging.read import printable

_EXAMPLES = 3
_LONGEST = 100


class Severity(StrEnum):
    """How much a fault matters."""

    ERROR = "error"
    """Loaders break, or numbers come out wrong."""
    WARNING = "warning"
    """Suspicious, or wrong in a way that most loaders bear."""
    NOTE = "note"
    """Valid, and yet some loaders choke on it or take it for something else."""


class Kind(NamedTuple):
    """One kind of fault. mend: what mending does about it where that is certain, or nothing."""

    severity: Severity
    says: str
    mend: str = ""


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_FROM_MASK = "taken from the mask"

KINDS: dict[str, Kind] = {
    # The file.
    "json-encoding": Kind(
        _E, "not plain UTF-8 without a byte-order mark: most loaders stop", "written as UTF-8"
    ),
    "json-duplicate-key": Kind(
        _W, "a key stands twice in one object: which value counts?", "the last one, as loaders do"
    ),
    "json-non-finite": Kind(_E, "NaN or Infinity, which JSON doesn't have", "null"),
    "top-level-missing": Kind(_E, "images, annotations or categories are missing"),
    "top-level-type": Kind(_E, "images, annotations or categories are not a list"),
    "record-type": Kind(_E, "an entry of a list is not an object"),
    "info-missing": Kind(_N, "no info, which some loaders of results want", "an empty one added"),
    # Pictures.
    "image-id-missing": Kind(_E, "an image without id"),
    "image-id-type": Kind(_E, "an image's id is not an integer", "numbers as text, and n.0"),
    "image-id-duplicate": Kind(_E, "an id of two images", "equal records dropped"),
    "image-file-name-missing": Kind(_E, "an image without file_name"),
    "image-file-name-duplicate": Kind(_E, "two images with one file_name"),
    "image-path-absolute": Kind(_W, "file_name is an absolute path, of one machine only"),
    "image-path-backslash": Kind(_W, "file_name with backslashes", "slashes"),
    "image-path-parent": Kind(_W, "file_name leads out of its folder (..)"),
    "image-path-url": Kind(_W, "file_name is a URL, not a file"),
    "image-size-missing": Kind(_E, "an image without width or height"),
    "image-size-type": Kind(_E, "width or height is not an integer", "numbers as text, and n.0"),
    "image-size-range": Kind(_E, "width or height is 0, negative or no size of any image"),
    # Classes.
    "category-id-missing": Kind(_E, "a category without id"),
    "category-id-type": Kind(_E, "a category's id is not an integer", "numbers as text, and n.0"),
    "category-id-duplicate": Kind(_E, "an id of two categories", "equal records dropped"),
    "category-id-zero": Kind(_N, "a category has id 0, which some loaders take for background"),
    "category-name-missing": Kind(_E, "a category without name"),
    "category-name-duplicate": Kind(_E, "two categories with one name"),
    "category-name-similar": Kind(_W, "names that differ only in case or spaces"),
    "negative-form": Kind(_W, "neg_ or not_exhaustive_category_ids is not a list of integers"),
    "negative-unknown": Kind(_W, "neg_ or not_exhaustive_category_ids names no category"),
    "negative-annotated": Kind(_E, "a class said to be absent is annotated in the image"),
    # Annotations.
    "annotation-id-missing": Kind(_E, "an annotation without id", "numbered"),
    "annotation-id-type": Kind(_E, "an annotation's id is not an integer", "numbered"),
    "annotation-id-duplicate": Kind(_E, "an id of two annotations", "numbered"),
    "annotation-id-zero": Kind(_E, "id 0: COCOeval takes a match with it for none", "numbered"),
    "annotation-ids-all-zero": Kind(_E, "every annotation has id 0", "numbered"),
    "annotation-duplicate": Kind(
        _W, "same image, category, box and mask as another", "dropped where all else is the same"
    ),
    "reference-type": Kind(
        _E, "image_id or category_id is right but no integer", "the id that it means"
    ),
    "image-orphan": Kind(_E, "image_id names no image", "dropped, unless they are half of all"),
    "category-orphan": Kind(_E, "category_id names no category"),
    "parent-unknown": Kind(_W, "parent_id names no other annotation of its image"),
    "iscrowd-missing": Kind(_W, "no iscrowd, which COCOeval wants", "0"),
    "iscrowd-value": Kind(_E, "iscrowd is neither 0 nor 1", "true, 1.0 and the like"),
    "crowd-polygon": Kind(_W, "iscrowd 1 with polygons: a crowd region is run lengths"),
    "rle-not-crowd": Kind(_N, "iscrowd 0 with run lengths: valid, keeps holes; some loaders choke"),
    "score-value": Kind(_W, "a score is not a number from 0 to 1"),
    "keypoints-unchecked": Kind(_N, "keypoints are kept and not checked"),
    # Masks.
    "boxes-only": Kind(_N, "no annotation has a mask: a file of boxes"),
    "segmentation-missing": Kind(_W, "no mask, where others have one"),
    "segmentation-form": Kind(_E, "segmentation is neither polygons nor run lengths"),
    "rle-size": Kind(_E, "size of the run lengths is not the image's height, width"),
    "rle-size-swapped": Kind(
        _E, "size of the run lengths is width, height", "turned where the box bears it out"
    ),
    "rle-counts": Kind(_E, "run lengths can't be read, or don't add up to their size"),
    "rle-bytes-text": Kind(_E, "counts is the text of Python bytes, b'...'", "the text inside"),
    "rle-uncompressed": Kind(_N, "counts is a list: valid, large, not read by all", "compressed"),
    "mask-empty": Kind(_W, "a mask covers no pixel"),
    "mask-too-large": Kind(_W, "a mask too large for pycocotools, not checked"),
    "polygon-flat": Kind(_E, "segmentation is one polygon, not a list of them", "put in a list"),
    "polygon-pairs": Kind(_E, "a polygon of [x, y] pairs, not of x, y, x, y", "unpacked"),
    "polygon-numbers": Kind(_E, "a polygon with something else than numbers of pixels"),
    "polygon-odd": Kind(_E, "a polygon with an odd count of numbers"),
    "polygon-short": Kind(_E, "a polygon of fewer than 3 corners", "dropped beside a good one"),
    "polygon-too-long": Kind(
        _E, "an outline of more than 10,000,000 pixels: loaders that draw it take gigabytes"
    ),
    "polygon-degenerate": Kind(
        _W, "a polygon without area", "dropped beside a good one; the annotation if its box is so"
    ),
    "polygon-normalized": Kind(_E, "a polygon in parts of the image, not in pixels"),
    "polygon-outside": Kind(_W, "a polygon leaves the image by more than half a pixel"),
    # Boxes and areas.
    "bbox-missing": Kind(_E, "no bbox", _FROM_MASK),
    "bbox-form": Kind(_E, "bbox is not four numbers of pixels", _FROM_MASK),
    "bbox-empty": Kind(_E, "bbox has no width or height", _FROM_MASK),
    "bbox-xyxy": Kind(
        _E, "bbox holds two corners, not x, y, width, height", f"{_FROM_MASK}, or converted"
    ),
    "bbox-normalized": Kind(_E, "bbox in parts of the image, not in pixels", _FROM_MASK),
    "bbox-outside": Kind(_W, "bbox leaves the image by more than half a pixel", _FROM_MASK),
    "bbox-elsewhere": Kind(_E, "bbox and mask don't touch: which is right?"),
    "bbox-inclusive": Kind(_W, "bbox is 1 short: last pixel less first, not + 1", _FROM_MASK),
    "bbox-not-tight": Kind(_W, "bbox is off the mask by more than 1 pixel", _FROM_MASK),
    "area-missing": Kind(_E, "no area", f"{_FROM_MASK}, or from the box where there is no mask"),
    "area-value": Kind(_E, "area is not a number of at least 0", "as area-missing"),
    "area-is-box": Kind(_E, "area is the box's, not the mask's", _FROM_MASK),
    "area-wrong": Kind(_W, "area is not the mask's", _FROM_MASK),
    "area-beyond-box": Kind(_W, "area is more than the box holds"),
    # Images as files.
    "file-missing": Kind(_E, "no file for an image"),
    "file-unreadable": Kind(_E, "an image's file can't be read"),
    "file-size": Kind(_E, "an image's file has another size"),
    "file-exif-stored": Kind(
        _E, "size as stored, but the camera's note (EXIF) turns the image by 90 degrees"
    ),
    "file-exif-turned": Kind(_N, "the camera's note (EXIF) turns the image: not all loaders do"),
    "file-unlisted": Kind(_N, "an image in the folder that the file doesn't list"),
}


@dataclass(frozen=True)
class Fault:
    """All faults of one kind in a file. examples: up to three, each with its place."""

    code: str
    count: int
    examples: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """What the code stands for."""
        return KINDS[self.code]


class Findings:
    """The faults that were found so far."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, code: str, place: object = "", detail: str = "") -> None:
        """Counts a fault; the first ones of a kind are kept as examples."""
        if code not in KINDS:
            raise ValueError(f"no such kind of fault: {code}")
        self._counts[code] += 1
        examples = self._examples.setdefault(code, [])
        if len(examples) < _EXAMPLES and (place or detail):
            text = ": ".join(part for part in (str(place), detail) if part)
            examples.append(text)

    def faults(self) -> list[Fault]:
        """All kinds that were found, the worst first, then in the order of ``KINDS``."""
        found = [code for code in KINDS if self._counts[code]]
        order = list(Severity)
        found.sort(key=lambda code: order.index(KINDS[code].severity))
        return [Fault(code, self._counts[code], tuple(self._examples[code])) for code in found]

    def count(self, severity: Severity) -> int:
        """How many faults of one severity were found."""
        return sum(n for code, n in self._counts.items() if KINDS[code].severity == severity)


def brief(value: object) -> str:
    """A value of the file in one short printable line, however large it is."""
    text = printable(_SHORT.repr(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 3, 6, 4, 60
