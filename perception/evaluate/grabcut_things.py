"""The things of a GrabCut folder: ``images/`` and ``masks/``, a pair of files of one name each.

A mask's pixels are 0 (background), 128 (unknown: nobody has judged them) or 255 (the object).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from perception.errors import EvaluationError
from perception.evaluate.things import Thing, Things, TruePicture
from perception.images import printable, read_image
from perception.inputs import SUFFIXES
from perception.masks import mask_to_rle
from perception.types import ImageArray

UNKNOWN, OBJECT = 128, 255


def read_grabcut_things(folder: Path) -> Things:
    """One thing for each picture of the folder.

    Raises EvaluationError for a folder of another kind, a picture without its mask, and a mask with
    other values.
    """
    name = printable(str(folder))
    if not (folder / "images").is_dir() or not (folder / "masks").is_dir():
        raise EvaluationError(
            f"{name}: expected the folders images and masks in it, as the GrabCut set has them"
        )
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    if not images:
        raise EvaluationError(f"{name}/images: no picture in it; nothing can be measured")
    if lonely := sorted(images.keys() ^ masks.keys()):
        raise EvaluationError(
            f"{name}: {printable(lonely[0])} is not in both of images and masks, and "
            f"{len(lonely) - 1} more; each picture needs a mask of its name"
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
