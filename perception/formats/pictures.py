"""Results as pictures: the overlay, a PNG for each mask, a transparent cut-out for each instance.

File names keep the picture's sub-folder and suffix, so that ``a.jpg``, ``a.png`` and ``b/a.jpg``
never write the same file.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path

import numpy as np
from PIL import Image

from perception.formats.atomic import inside, whole_file
from perception.instances import Instances
from perception.masks import rle_to_mask
from perception.types import ImageArray


def save_overlay(instances: Instances, folder: Path, name: str) -> Path:
    """Writes ``<name>.overlay.png`` into a folder; name: the picture's relative POSIX path."""
    from perception.overlay import draw_overlay

    path = inside(folder, f"{name}.overlay.png")
    _write_png(draw_overlay(instances), path)
    return path


def save_masks(instances: Instances, folder: Path, name: str) -> list[Path]:
    """Writes each mask as ``<name>.mask-001-<label>.png``, black and white, of the picture's size.

    Numbers follow the order of the instances. Those of an earlier run on this picture are removed.
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

    Raises ValueError if ``instances`` doesn't hold its picture.
    """
    if instances.image is None:
        raise ValueError("the picture was not kept with its instances, so nothing can be cut out")
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
