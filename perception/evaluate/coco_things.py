"""The things of a COCO instances file."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from perception.errors import CocoError
from perception.evaluate.picture_files import picture_paths
from perception.evaluate.things import Thing, Things, TruePicture
from perception.evaluate.truth import read_truth
from perception.images import printable
from perception.masks import rle_area


def read_coco_things(path: Path, images: Path) -> Things:
    """All things of a COCO file that have a mask; images: the folder of its pictures.

    Left out, and counted: crowd regions, which are no single thing, and annotations without a mask
    that covers a pixel. Raises CocoError for a file that can't be used,
    EvaluationError for a folder without the pictures.
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
