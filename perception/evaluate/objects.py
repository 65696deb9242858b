"""Objects whose masks are known: of COCO files and of GrabCut folders.

A mask's pixels are 0 (background), 128 (unknown: nobody has judged them) or 255 (the object).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.errors import CocoError, EvaluationError
from perception.evaluate.ground_truth import picture_paths, read_truth
from perception.imaging.discover import SUFFIXES
from perception.imaging.read import printable, read_image
from perception.instances import Instances
from perception.ops.boxes import as_boxes
from perception.ops.masks import mask_to_rle, rle_area, rle_to_box, rle_to_mask
from perception.types import BoolArray, FloatArray, ImageArray, Rle

SIZES = ("small", "medium", "large")
_SMALL, _MEDIUM = 32**2, 96**2
"""COCO's limits, in pixels of the mask: below the first is small, below the second medium."""


@dataclass(frozen=True)
class Thing:
    """One thing. id: unique in its image; inside: its mask; unknown: pixels nobody has judged.

    The two don't overlap, and ``inside`` has at least one pixel.
    """

    id: str
    label: str
    inside: Rle
    unknown: Rle | None = None

    @property
    def truth(self) -> BoolArray:
        """Its mask H x W."""
        return np.ascontiguousarray(rle_to_mask(self.inside))

    @property
    def known(self) -> BoolArray | None:
        """The pixels H x W that count; None if all do."""
        return None if self.unknown is None else np.ascontiguousarray(~rle_to_mask(self.unknown))

    @property
    def box(self) -> FloatArray:
        """Tight around the mask, 4 (xyxy)."""
        return rle_to_box(self.inside)

    @property
    def size(self) -> str:
        """One of ``SIZES``, by the pixels of its mask."""
        return size_of(rle_area(self.inside))


def size_of(area: float) -> str:
    """COCO's name for a thing of so many pixels."""
    return SIZES[0] if area < _SMALL else SIZES[1] if area < _MEDIUM else SIZES[2]


@dataclass(frozen=True)
class TruePicture:
    """An image with its things. file_name: from the pictures' folder, POSIX."""

    file_name: str
    path: Path
    image_hw: tuple[int, int]
    things: tuple[Thing, ...]

    def read(self) -> ImageArray:
        """RGB uint8 H x W x 3; ImageError if it can't be read, EvaluationError for another size."""
        image = read_image(self.path)
        if image.shape[:2] != self.image_hw:
            have, want = (f"{w} x {h}" for h, w in (image.shape[:2], self.image_hw))
            raise EvaluationError(
                f"{printable(str(self.path))}: {have} pixels, its truth has {want}: "
                "name the folder of the very images that the truth was made for"
            )
        return image


@dataclass(frozen=True)
class Things:
    """A set of images with their things.

    name: of the file or folder it comes from; folder: of the images; sha256: of the truth;
    left_out: things that can't be asked about, by why.
    """

    name: str
    folder: Path
    pictures: tuple[TruePicture, ...]
    sha256: str
    left_out: dict[str, int]

    def limited(self, count: int) -> Things:
        """Return the objects of the first images; how many images that leaves out is noted."""
        cut = len(self.pictures) - count
        if cut <= 0:
            return self
        left_out = {**self.left_out, "images beyond the limit": cut}
        return replace(self, pictures=self.pictures[:count], left_out=left_out)

    def __len__(self) -> int:
        return sum(len(picture.things) for picture in self.pictures)

    def __iter__(self) -> Iterator[tuple[TruePicture, Thing]]:
        for picture in self.pictures:
            for thing in picture.things:
                yield picture, thing


def read_coco_things(path: Path, images: Path) -> Things:
    """All things of a COCO file that have a mask; images: the folder of its images.

    Left out, and counted: crowd regions, which are no single thing, and annotations without a mask
    that covers a pixel. Raises CocoError for a file that can't be used,
    EvaluationError for a folder without the images.
    """
    truth = read_truth(path)
    names = {category.id: category.name for category in truth.categories}
    by_picture: dict[int, list[Thing]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for one in truth.instances:
        if one.crowd:
            left_out["crowd regions"] += 1
        elif one.mask is None or not rle_area(one.mask):
            left_out["without a mask"] += 1
        else:
            things = by_picture[one.picture]
            things.append(Thing(str(len(things)), names[one.category], one.mask))
    if not by_picture:
        raise CocoError(
            f"{printable(str(path))}: no thing with a mask in it; nothing can be measured"
        )

    rows = sorted(truth.pictures, key=lambda row: row.file_name)
    paths = picture_paths([row.file_name for row in rows], images)
    pictures = tuple(
        TruePicture(row.file_name, path, row.image_hw, tuple(by_picture[row.id]))
        for row, path in zip(rows, paths, strict=True)
    )
    return Things(truth.name, images, pictures, truth.sha256, dict(left_out))


UNKNOWN, OBJECT = 128, 255


def read_grabcut_things(folder: Path) -> Things:
    """One thing for each image of the folder.

    Raises EvaluationError for a folder of another kind, an image without its mask, and a mask with
    other values.
    """
    name = printable(str(folder))
    if not (folder / "images").is_dir() or not (folder / "masks").is_dir():
        raise EvaluationError(
            f"{name}: expected the folders images and masks in it, as the GrabCut set has them"
        )
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    if not images:
        raise EvaluationError(f"{name}/images: no image in it; nothing can be measured")
    if lonely := sorted(images.keys() ^ masks.keys()):
        raise EvaluationError(
            f"{name}: {printable(lonely[0])} is not in both of images and masks, and "
            f"{len(lonely) - 1} more; each image needs a mask of its name"
        )
    digest = hashlib.sha256()
    pictures = [_picture(images[stem], masks[stem], digest) for stem in sorted(images)]
    return Things(folder.name, folder / "images", tuple(pictures), digest.hexdigest(), {})


def _by_stem(folder: Path) -> dict[str, Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return {file.stem: file for file in files}


def _picture(image: Path, mask: Path, digest: hashlib._Hash) -> TruePicture:
    levels = read_image(mask)
    name = printable(str(mask))
    digest.update(f"{image.name} {levels.shape}".encode())
    digest.update(levels.tobytes())
    grey = levels[..., 0]
    if not _is_trimap(levels):
        raise EvaluationError(f"{name}: expected 0, {UNKNOWN} and {OBJECT} only, got other values")
    if not (grey == OBJECT).any():
        raise EvaluationError(f"{name}: no pixel of the object ({OBJECT}) in it")
    unknown = mask_to_rle(grey == UNKNOWN) if (grey == UNKNOWN).any() else None
    thing = Thing(image.stem, "object", mask_to_rle(grey == OBJECT), unknown)
    return TruePicture(image.name, image, (grey.shape[0], grey.shape[1]), (thing,))


def _is_trimap(levels: ImageArray) -> bool:
    grey = levels[..., 0]
    alike = (levels == grey[..., None]).all()
    return bool(alike and np.isin(grey, (0, UNKNOWN, OBJECT)).all())


def as_instances(
    rles: Sequence[Rle], labels: Sequence[str], scores: Sequence[float] | None = None
) -> Instances:
    """N masks, at least one, of one image; labels, scores: N (default: no scores)."""
    classes = tuple(dict.fromkeys(labels))
    return Instances(
        image_hw=rles[0].size,
        classes=classes,
        boxes=as_boxes([rle_to_box(rle) for rle in rles]),
        scores=np.array([np.nan] * len(rles) if scores is None else scores, np.float32),
        class_ids=np.array([classes.index(label) for label in labels], np.int64),
        rles=tuple(rles),
    )


def truth_instances(thing: Thing) -> Instances:
    """A thing, and what is unknown around it."""
    if thing.unknown is None:
        return as_instances([thing.inside], [thing.label])
    return as_instances([thing.inside, thing.unknown], [thing.label, "unknown"])
