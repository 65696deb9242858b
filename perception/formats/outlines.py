"""The outlines of an instance, for formats that know polygons and no run lengths."""

from __future__ import annotations

import numpy as np

from perception.instances import Instances
from perception.ops.masks import rle_to_mask
from perception.ops.polygons import mask_to_polygons
from perception.types import FloatArray

SIMPLIFY = 0.5
"""How far the outlines of labelme and YOLO are from the pixels' steps, in pixels, unless told."""


def outlines(result: Instances, n: int, simplify: float = 0.0) -> list[FloatArray]:
    """Instance n's outlines, each K x 2 (x, y), in pixels; holes are cut out.

    simplify: see ``mask_to_polygons``.
    """
    x0, y0, x1, y1 = result.boxes[n].astype(int).tolist()
    window = rle_to_mask(result.rles[n])[y0:y1, x0:x1]
    corner = np.array([x0, y0], np.float32)
    return [outline + corner for outline in mask_to_polygons(window, simplify)]


def one_outline(result: Instances, n: int, simplify: float = 0.0) -> FloatArray:
    """Instance n as one polygon K x 2 (x, y), which encloses the same pixels as its outlines.

    From the first outline it goes to each further one and back the same way: a way of no width.
    """
    first, *others = outlines(result, n, simplify)
    parts = [first]
    for other in others:
        parts += [first[:1], other, other[:1]]
    return np.concatenate([*parts, first[:1]]) if others else first
