"""Where a click on a thing is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator


def point_in(mask: np.ndarray, rng: Generator) -> tuple[float, float]:
    """A place (x, y) in a mask H x W: anywhere, or as deep inside as it goes."""
    if rng.random() < 0.4:
        y, x = divmod(deepest(mask), mask.shape[1])
    else:
        inside = np.flatnonzero(mask)
        y, x = divmod(int(inside[rng.integers(len(inside))]), mask.shape[1])
    return float(x) + rng.random(), float(y) + rng.random()


def deepest(mask: np.ndarray) -> int:
    """The flat index of the place in a mask h x w that is farthest from its border."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return int(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1].argmax())
