"""The photograph half of the nano detector on ONNX Runtime, and which half answers for a box.

The file takes ``pixels`` 1 x 3 x H x W (normalized; 32 divides H and W) and ``phrases`` R x D and
gives ``boxes`` 1 x Q x 4 in pixels of the input, ``logits`` 1 x Q x R and ``drawn`` 1 x h x w, the
probability that a cell of 16 x 16 pixels is drawn rather than photographed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perception.detectors.nano import spec as onnx_metadata
from perception.detectors.nano.names import ColorMap, Meaning, NameTable, phrase_rows
from perception.detectors.nano.spec import DetectorMetadata
from perception.errors import WeightsError
from perception.imaging.preprocess import Frame, fit_picture
from perception.ops.boxes import BoxMeans, clip_boxes
from perception.ops.masks import sigmoid
from perception.runtime.onnx_session import open_session
from perception.types import FloatArray, ImageArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STRIDE = 32
"""What the sides of the input are multiples of."""

CELL = 16
"""Pixels of the input along each side of one cell of ``drawn``."""

DRAWN = 0.15, 0.4
"""Of a box, how drawn it is where the drawn half begins to answer, and where it answers in full."""

PHOTO = 0.3, 0.6
"""The same where the photograph half begins to be held back, and where it no longer answers."""

USUAL = 0.35
"""How drawn an image is, on the mean, between photographs and drawings. By how much more or less
it is, its boxes count as more or less drawn: a flat patch is taken for what is around it. Scenes
have means above 0.4, photographs below 0.3, but for one in a hundred of either.
"""


@dataclass(frozen=True)
class DrawnMap:
    """Where an image is drawn. cells: h x w in 0..1; frame: of the input."""

    cells: FloatArray
    frame: Frame

    @property
    def any_drawn(self) -> bool:
        return bool((self._seen() + self.shift > DRAWN[1]).any())

    @property
    def any_photo(self) -> bool:
        return bool((self._seen() + self.shift < PHOTO[1]).any())

    @property
    def shift(self) -> float:
        """By how much more drawn each box counts, because of its image."""
        return float(self._seen().mean()) - USUAL

    def weights(self, boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the drawn half's scores weigh in boxes N x 4 xyxy of the image, and the other's."""
        mean = self.mean(boxes) + self.shift
        drawn, photo = (np.clip((mean - low) / (high - low), 0, 1) for low, high in (DRAWN, PHOTO))
        return drawn.astype(np.float32), (1 - photo).astype(np.float32)

    def mean(self, boxes: FloatArray) -> FloatArray:
        """How far boxes N x 4 xyxy of the image are drawn, 0..1: the mean of their cells."""
        size = np.array(self.cells.shape[::-1])
        cells = self.frame.boxes_to_model(boxes) / CELL
        low = np.clip(np.floor(cells[:, :2]), 0, size - 1).astype(np.int64)
        high = np.clip(np.ceil(cells[:, 2:]), 1, size).astype(np.int64)
        means = BoxMeans(self.cells)(low, np.maximum(high, low + 1))
        return means.astype(np.float32)

    def _seen(self) -> FloatArray:
        """The cells that the image covers; the others are padding."""
        height, width = self.frame.resized_hw
        return self.cells[: -(-height // CELL), : -(-width // CELL)]


@dataclass(frozen=True)
class PhotoView:
    """One image as the photograph half sees it. boxes: Q x 4 xyxy of the image; scores: Q x P."""

    boxes: FloatArray
    scores: FloatArray
    drawn: DrawnMap


class PhotoHalf:
    """The network's session, the table of names and the colors; see ``NanoDetector``."""

    def __init__(
        self, path: str | Path, names_path: str | Path, *, threads: int, device: str
    ) -> None:
        self.session: InferenceSession = open_session(path, threads=threads, device=device)
        values = self.session.get_modelmeta().custom_metadata_map
        self.metadata = DetectorMetadata.from_map(values, onnx_metadata.PHOTO, path=str(path))
        self.table = NameTable.load(Path(names_path))
        wanted = self.session.get_inputs()[1].shape[1]
        if self.table.rows.shape[1] != wanted:
            raise WeightsError(
                f"{names_path}: its rows have {self.table.rows.shape[1]} numbers, {path} takes "
                f"{wanted}: use the table that came with it"
            )

    def view(self, image: ImageArray, meanings: Sequence[Meaning]) -> PhotoView:
        """What an RGB image H x W x 3 shows of P phrases."""
        frame, pixels = fit_input(image, self.metadata.side)
        vectors, owners = phrase_rows(self.table, meanings)
        boxes, logits, drawn = self.session.run(
            ["boxes", "logits", "drawn"], {"pixels": pixels, "phrases": vectors}
        )
        fitted = clip_boxes(frame.boxes_to_image(boxes[0]), frame.image_hw)
        scores = np.zeros((len(fitted), len(meanings)), np.float32)
        if len(owners):
            asked, starts = np.unique(owners, return_index=True)
            scores[:, asked] = sigmoid(np.maximum.reduceat(logits[0], starts, axis=1))
        colored = [k for k, meaning in enumerate(meanings) if meaning.color and meaning.rows]
        if colored:
            colors = ColorMap(image, self.table.colors)
            for k in colored:
                scores[:, k] *= colors.factor(fitted, meanings[k].color)
        return PhotoView(fitted, scores, DrawnMap(drawn[0], frame))


def fit_input(image: ImageArray, side: int) -> tuple[Frame, FloatArray]:
    """RGB H x W x 3 -> its frame and the input 1 x 3 x h x w, no larger than multiples of 32 need.

    Raises ImageError for another shape or type.
    """
    frame, pixels = fit_picture(image, side)
    height, width = (min(side, -(-n // STRIDE) * STRIDE) for n in frame.resized_hw)
    return frame, np.ascontiguousarray(pixels[:, :, :height, :width])
