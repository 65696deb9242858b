"""What makes masks of boxes: a segmenter, or GrabCut, the classic that a network has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from perception.predictor.protocol import MaskPredictor
from perception.types import BoolArray, FloatArray, ImageArray

ITERATIONS = 5
"""Of GrabCut, for which the reference figure on its own set was measured."""


class BoxMasks(Protocol):
    """Cuts out what boxes show."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        """For each box N x 4 on a picture H x W x 3 the masks M x H x W, its own choice first."""
        ...


class PredictorBoxMasks:
    """A predictor's four masks for each box: the single-mask answer, then the candidates.

    Each box is predicted as ``Model.segment`` does it, and each mask is as it would be shown.
    """

    def __init__(self, predictor: MaskPredictor) -> None:
        self._predictor = predictor

    @property
    def name(self) -> str:
        return self._predictor.segmenter.name

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        encoded = self._predictor.encode(image)
        # Box by box, since predict_boxes may change their order.
        for box in boxes:
            ((_, candidates),) = encoded.predict_boxes(box[None])
            yield np.stack([one.mask() for one in candidates])


class GrabCutBoxMasks:
    """GrabCut (Rother et al. 2004) as OpenCV has it: all outside the box is background."""

    name = "cv2.grabCut"

    def __init__(self, *, iterations: int = ITERATIONS) -> None:
        self._iterations = iterations

    def masks(self, image: ImageArray, boxes: FloatArray) -> Iterator[BoolArray]:
        bgr = np.ascontiguousarray(image[..., ::-1])
        for box in boxes:
            yield self._mask(bgr, box)[None]

    def _mask(self, bgr: ImageArray, box: FloatArray) -> BoolArray:
        import cv2

        height, width = bgr.shape[:2]
        x0, y0, x1, y1 = np.clip(np.round(box), 0, [width, height] * 2).astype(int).tolist()
        inside = np.zeros((height, width), np.bool_)
        inside[y0:y1, x0:x1] = True
        if inside.all() or not inside.any():
            return inside  # It learns the background from what is outside, and there is nothing.
        labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        models = np.zeros((2, 1, 65))
        cv2.setRNGSeed(0)  # It starts from clusters that are drawn at random.
        cv2.grabCut(
            bgr, labels, (0, 0, 0, 0), models[0], models[1], self._iterations, cv2.GC_INIT_WITH_MASK
        )
        mask: BoolArray = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return mask
