"""Ground truth: the images, categories and instances of a COCO or LVIS file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from perception.coco.lint.faults import Findings
from perception.coco.lint.read import is_int, is_number, read_coco, records
from perception.coco.lint.segmentation import read_segmentation
from perception.coco.lint.shapes import Polygons
from perception.errors import CocoError, EvaluationError
from perception.imaging.read import printable
from perception.ops.masks import rle_area, rle_to_box
from perception.types import Rle

Box = tuple[float, float, float, float]
"""x, y, width, height, as COCO has it and pycocotools wants it."""


@dataclass(frozen=True)
class Picture:
    """An image. file_name: relative, POSIX.

    absent: categories that are known not to be in it; open: categories of which not each instance
    is marked (LVIS: ``neg_category_ids``, ``not_exhaustive_category_ids``).
    """

    id: int
    file_name: str
    image_hw: tuple[int, int]
    absent: frozenset[int] = frozenset()
    open: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Category:
    """A category. frequency: LVIS's "r", "c" or "f"; "" where it isn't said."""

    id: int
    name: str
    synonyms: tuple[str, ...] = ()
    frequency: str = ""


@dataclass(frozen=True)
class Instance:
    """One thing, or a crowd of them. area: as the file has it, which sorts it by size."""

    picture: int
    category: int
    box: Box
    area: float
    mask: Rle | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Truth:
    """All that is right. name: of the file; sha256: of its bytes; cut: see ``limited``."""

    name: str
    pictures: tuple[Picture, ...]
    categories: tuple[Category, ...]
    instances: tuple[Instance, ...]
    sha256: str = ""
    cut: frozenset[int] = frozenset()

    def limited(self, count: int) -> Truth:
        """Return the truth of its first images, by file name.

        ``cut`` then holds the ids of all others, whose predictions are passed over.
        """
        ordered = sorted(self.pictures, key=lambda picture: picture.file_name)
        kept, cut = ordered[:count], frozenset(picture.id for picture in ordered[count:])
        if not cut:
            return self
        return replace(
            self,
            name=f"{self.name} (first {count:,} images)",
            pictures=tuple(kept),
            instances=tuple(one for one in self.instances if one.picture not in cut),
            cut=cut,
        )

    @property
    def has_masks(self) -> bool:
        """Whether there are masks, and not boxes alone."""
        return bool(self.instances) and all(one.mask is not None for one in self.instances)

    @property
    def is_federated(self) -> bool:
        """Whether absence is noted: then nothing is known of a category not named of an image."""
        return any(picture.absent for picture in self.pictures)

    @cached_property
    def present(self) -> Mapping[int, frozenset[int]]:
        """The categories with an instance or a crowd in each image."""
        found: dict[int, set[int]] = {picture.id: set() for picture in self.pictures}
        for one in self.instances:
            found[one.picture].add(one.category)
        return {picture: frozenset(ids) for picture, ids in found.items()}

    def judged(self, picture: Picture) -> frozenset[int]:
        """The categories of which it is known whether they are in an image."""
        if not self.is_federated:
            return frozenset(category.id for category in self.categories)
        return self.present[picture.id] | picture.absent


def read_truth(path: Path) -> Truth:
    """A COCO or LVIS instances file; raises CocoError for one that nothing can be held against."""
    content = read_coco(path, Findings())
    name = printable(str(path))
    try:
        pictures = tuple(_picture(row, at) for at, row in _rows(content, "image"))
        categories = tuple(_category(row, at) for at, row in _rows(content, "category"))
        instances = tuple(_instances(content, pictures, categories))
        _check(pictures, categories, instances)
    except CocoError as error:
        raise CocoError(
            f"{name}: {error}; perception verify says what is wrong with the file"
        ) from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Truth(path.name, pictures, categories, instances, digest)


def _rows(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for placed in records(content, kind):
        yield str(placed.place), placed.record


def _check(
    pictures: Sequence[Picture], categories: Sequence[Category], instances: Sequence[Instance]
) -> None:
    rows = (("pictures", pictures), ("categories", categories), ("annotations", instances))
    for what, some in rows:
        if not some:
            raise CocoError(f"no {what} in it")
    for what, ids in (("image", pictures), ("category", categories)):
        known: set[int] = set()
        for row in ids:
            if row.id in known:
                raise CocoError(f"the {what} id {row.id} stands there twice")
            known.add(row.id)
    names = set[str]()
    for picture in pictures:
        if picture.file_name in names:
            raise CocoError(f"two images are called {printable(picture.file_name)}")
        names.add(picture.file_name)


def _picture(row: Mapping[str, Any], at: str) -> Picture:
    key, height, width = row.get("id"), row.get("height"), row.get("width")
    name = row.get("file_name") or _name_in_url(row.get("coco_url"))
    if not (is_int(key) and is_int(height) and is_int(width) and min(height, width) > 0):
        raise CocoError(f"{at} has no whole numbers for id, height and width")
    if not isinstance(name, str) or not name:
        raise CocoError(f"{at} has no file_name")
    absent, not_all = (
        frozenset(filter(is_int, row.get(field) or ()))
        for field in ("neg_category_ids", "not_exhaustive_category_ids")
    )
    return Picture(key, name, (height, width), absent, not_all)


def _name_in_url(url: object) -> str:
    """LVIS v1 names its images by COCO's addresses alone: ``val2017/000000000139.jpg``."""
    parts = PurePosixPath(urlsplit(url).path).parts if isinstance(url, str) else ()
    return "/".join(parts[-2:])


def _category(row: Mapping[str, Any], at: str) -> Category:
    key, name, synonyms = row.get("id"), row.get("name"), row.get("synonyms")
    if not is_int(key) or not isinstance(name, str) or not name.strip():
        raise CocoError(f"{at} has no id and name")
    others = [text for text in synonyms if isinstance(text, str)] if synonyms else []
    return Category(key, name, tuple(others), str(row.get("frequency") or ""))


def _instances(
    content: Mapping[str, Any], pictures: Sequence[Picture], categories: Sequence[Category]
) -> Iterator[Instance]:
    sizes = {picture.id: picture.image_hw for picture in pictures}
    known = {category.id for category in categories}
    for at, row in _rows(content, "annotation"):
        picture, category = row.get("image_id"), row.get("category_id")
        if picture not in sizes:
            raise CocoError(f"{at} is of image {picture!r}, which isn't listed")
        if category not in known:
            raise CocoError(f"{at} is of category {category!r}, which isn't listed")
        mask = annotation_mask(row, sizes[picture])
        box = box_of(row.get("bbox"), mask)
        if box is None:
            raise CocoError(f"{at} has neither a bbox nor a mask")
        area = row.get("area")
        if not is_number(area):
            area = box[2] * box[3] if mask is None else rle_area(mask)
        yield Instance(picture, category, box, float(area), mask, bool(row.get("iscrowd")))


def box_of(value: object, mask: Rle | None) -> Box | None:
    """A box x, y, width, height as a file has it, else the one around a mask, if there is one."""
    if isinstance(value, (list, tuple)) and len(value) == 4 and all(map(is_number, value)):
        x, y, width, height = map(float, value)
        return x, y, width, height
    if mask is None:
        return None
    x0, y0, x1, y1 = rle_to_box(mask).tolist()
    return x0, y0, x1 - x0, y1 - y0


def annotation_mask(annotation: Mapping[str, Any], image_hw: tuple[int, int]) -> Rle | None:
    """Its pixels in an image of (height, width), perhaps none; None where there is no mask."""
    mask = read_segmentation(annotation.get("segmentation"), image_hw).mask
    if mask is None:
        return None
    if not isinstance(mask.outline, Polygons):
        return Rle(image_hw, mask.outline.counts())
    if not mask.outline.can_be_drawn(image_hw):
        return None
    return Rle(image_hw, mask.outline.drawn(image_hw)["counts"].decode("ascii"))


def picture_paths(names: Sequence[str], images: Path) -> list[Path]:
    """The file of each image: by its whole name below a folder, else by its last part.

    Raises EvaluationError for a folder that isn't there, or has none of them.
    """
    if not images.is_dir():
        raise EvaluationError(
            f"{printable(str(images))}: no such folder; --images names the one of the images"
        )
    paths = [picture_path(images, name) for name in names]
    if not any(path.is_file() for path in paths):
        raise EvaluationError(
            f"{printable(str(images))}: none of the {len(names):,} images is there, such as "
            f"{printable(names[0])}; --images names their folder"
        )
    return paths


def picture_path(images: Path, name: str) -> Path:
    """The file of one image, whether it is there or not."""
    whole, last = images / name, images / PurePosixPath(name).name
    return last if last.is_file() and not whole.is_file() else whole
