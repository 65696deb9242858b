"""PNG: overlays, masks, cut-outs, and maps of category ids.

File names keep the image's sub-folder and suffix, so that ``a.jpg``, ``a.png`` and ``b/a.jpg``
never write the same file.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from perception.errors import DataError, OutputError
from perception.instances import Instances
from perception.ops.masks import rle_to_mask
from perception.runtime.files import inside, whole_file
from perception.types import ImageArray


def save_overlay(instances: Instances, folder: Path, name: str) -> Path:
    """Writes ``<name>.overlay.png`` into a folder; name: the image's relative POSIX path."""
    from perception.formats.draw import draw_overlay

    path = inside(folder, f"{name}.overlay.png")
    _write_png(draw_overlay(instances), path)
    return path


def save_masks(instances: Instances, folder: Path, name: str) -> list[Path]:
    """Writes each mask as ``<name>.mask-001-<label>.png``, black and white, of the image's size.

    Numbers follow the order of the instances. Those of an earlier run on this image are removed.
    """
    _remove_earlier(folder, name, "mask")
    paths = []
    for n, rle in enumerate(instances.rles):
        path = _numbered(folder, name, "mask", n, instances.labels[n])
        _write_png(rle_to_mask(rle).astype(np.uint8) * 255, path)
        paths.append(path)
    return paths


def save_cutouts(instances: Instances, folder: Path, name: str) -> list[Path]:
    """Writes each instance as ``<name>.cutout-001-<label>.png``, cropped, transparent around it.

    Raises DataError if ``instances`` doesn't hold its image.
    """
    if instances.image is None:
        raise DataError("the image was not kept with its instances, so nothing can be cut out")
    _remove_earlier(folder, name, "cutout")
    paths = []
    for n, rle in enumerate(instances.rles):
        x0, y0, x1, y1 = instances.boxes[n].astype(int)
        alpha = rle_to_mask(rle)[y0:y1, x0:x1, None].astype(np.uint8) * 255
        path = _numbered(folder, name, "cutout", n, instances.labels[n])
        _write_png(np.concatenate([instances.image[y0:y1, x0:x1], alpha], axis=2), path)
        paths.append(path)
    return paths


def _numbered(folder: Path, name: str, kind: str, n: int, label: str) -> Path:
    slug = re.sub(r"[^\w]+", "-", label)[:40].strip("-")
    return inside(folder, f"{name}.{kind}-{n + 1:03d}-{slug or 'object'}.png")


def _remove_earlier(folder: Path, name: str, kind: str) -> None:
    beginning = glob.escape(str(inside(folder, f"{name}.{kind}-")))
    for path in glob.glob(f"{beginning}[0-9][0-9][0-9]*-*.png"):
        Path(path).unlink(missing_ok=True)


def _write_png(pixels: ImageArray, path: Path) -> None:
    # Level 3 writes in a third of the default's time, for a few per cent more bytes.
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "PNG", compress_level=3)


MAX_CLASSES = 255
"""What a palette has room for, beside nothing."""


def write_class_maps(results: Iterable[Instances], folder: Path, *, classes: Sequence[str]) -> int:
    """Writes ``<image>.png`` for each result, and ``classes.txt``; returns how many instances.

    A pixel of two instances is of the one that scores higher, or that a hand made. The suffix of
    the image is kept, so that a.jpg and a.png don't meet. Raises OutputError for too many
    classes, or if a file can't be written.
    """
    if len(classes) > MAX_CLASSES:
        raise OutputError(
            f"{len(classes)} classes: a PNG of classes has room for {MAX_CLASSES}; "
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
    """256 colors, red, green, blue: black, then colors whose bits are spread as VOC has them."""
    colors = []
    for n in range(256):
        for channel in range(3):
            colors.append(sum((n >> (3 * k + channel) & 1) << (7 - k) for k in range(3)))
    return colors
