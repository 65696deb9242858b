"""PNG: a picture of classes for each picture, whose pixels are category ids; 0 is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from perception.errors import OutputError
from perception.formats.atomic import inside, whole_file
from perception.instances import Instances
from perception.masks import rle_to_mask

MOST_CLASSES = 255
"""What a palette has room for, beside nothing."""


def write_class_maps(results: Iterable[Instances], folder: Path, *, classes: Sequence[str]) -> int:
    """Writes ``<picture>.png`` for each result, and ``classes.txt``; returns how many instances.

    A pixel of two instances is of the one that scores higher, or that a hand made. The suffix of
    the picture is kept, so that a.jpg and a.png don't meet. Raises OutputError for too many
    classes, or if a file can't be written.
    """
    if len(classes) > MOST_CLASSES:
        raise OutputError(
            f"{len(classes)} classes: a PNG of classes has room for {MOST_CLASSES}; "
            "choose another --format"
        )
    count, palette = 0, _palette()
    for result in results:
        image = Image.fromarray(_class_map(result))
        image.putpalette(palette)
        with whole_file(inside(folder, f"{result.file_name}.png")) as file:
            image.save(file, "PNG")
        count += len(result)
    with whole_file(folder / "classes.txt") as file:
        lines = [f"{n} {name}\n" for n, name in enumerate(classes, start=1)]
        file.write("".join(lines).encode("utf-8", errors="backslashreplace"))
    return count


def _class_map(result: Instances) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Category ids H x W."""
    ids = np.zeros(result.image_hw, np.uint8)
    for n in np.argsort(result.scores, kind="stable"):
        x0, y0, x1, y1 = result.boxes[n].astype(int).tolist()
        window = rle_to_mask(result.rles[n])[y0:y1, x0:x1]
        ids[y0:y1, x0:x1][window] = result.class_ids[n] + 1
    return ids


def _palette() -> list[int]:
    """256 colours, red, green, blue: black, then colours whose bits are spread as VOC has them."""
    colours = []
    for n in range(256):
        for channel in range(3):
            colours.append(sum((n >> (3 * k + channel) & 1) << (7 - k) for k in range(3)))
    return colours
