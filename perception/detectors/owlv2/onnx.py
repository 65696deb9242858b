"""OWLv2 on ONNX Runtime, its preprocessing and its text; no torch.

Two files and a vocabulary, as ``perception export`` writes them. The text side takes ``ids`` N x L,
padded with 0, and gives ``queries`` N x D. The image side takes ``pixels`` 1 x 3 x S x S and gives
of each patch ``embeddings`` Q x D, ``boxes`` Q x 4, cxcywh as parts of the square that the image
lies in the corner of, ``shift`` and ``scale``, Q x 1 each, and ``objectness`` Q, the logit of
anything at all, which isn't asked for here. Both files carry ``ClipMetadata``.

What transformers does with its square, in the same numbers; but there the blur is a convolution
with a square kernel, which takes seconds for a photograph. Blur and resizing act along each axis by
itself, and both only add up pixels, so that each axis is one matrix. Its columns that would meet
the black of the square are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from perception.detectors.decode import candidates
from perception.detectors.onnx_files import OWLV2, boxes_in_image, open_clip_files
from perception.detectors.protocol import Detector
from perception.detectors.text import TextMemory, token_ids, too_long
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases
from perception.types import Candidates, FloatArray, ImageArray, IntArray


class OnnxOwlv2(Detector):
    """A ``Detector`` over the two ONNX files and the vocabulary.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    phrases_independent = True  # A query is only multiplied with the patches, and they have boxes.

    def __init__(
        self,
        text_path: str | Path,
        patches_path: str | Path,
        vocab_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        paths = (text_path, patches_path)
        files = open_clip_files(paths, OWLV2, vocab_path, threads=threads, device=device)
        self._text, self._patches = files.sessions
        self.metadata, self._tokenizer = files.metadata, files.tokenizer
        self.name, self.side = self.metadata.name, self.metadata.side
        self._queries: TextMemory[str, FloatArray] = TextMemory(KEPT_PHRASES)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        queries = np.stack(self._queries.get_all(phrases.phrases, self._encode))  # P x D
        return [self._one(image, queries, floor) for image in images]

    def _one(self, image: ImageArray, queries: FloatArray, floor: float) -> Candidates:
        about = self.metadata
        pixels = to_square_pixels(image, about.side, about.mean, about.std)[None]
        embeddings, boxes, shift, scale = self._patches.run(
            ["embeddings", "boxes", "shift", "scale"], {"pixels": pixels}
        )
        logits = (embeddings @ queries.T + shift) * scale
        return candidates(boxes_from_square(boxes, image.shape[:2]), logits, floor=floor)

    def _encode(self, phrases: Sequence[str]) -> list[FloatArray]:
        """The query of each of N phrases, D."""
        limit = self.metadata.limit
        rows = token_rows(self._tokenizer, phrases, limit=limit, model=self.name)
        queries: list[FloatArray] = []
        for start in range(0, len(rows), PHRASES_PER_CALL):
            (found,) = self._text.run(["queries"], {"ids": rows[start : start + PHRASES_PER_CALL]})
            queries += list(found)
        return queries


ROWS_AT_ONCE = 512
"""Rows of an image that are floats at a time: memory stays bounded."""


def to_square_pixels(
    image: ImageArray,
    side: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    scale: float = 1 / 255,
) -> FloatArray:
    """RGB image H x W x 3 -> normalized 3 x S x S, S being ``side``; mean, std: of R G B."""
    height, width = image.shape[:2]
    # The matrix is of a square; the image is its first rows and columns.
    shrinking = _shrinking(max(height, width), side)
    down, across = shrinking[:, :height], shrinking[:, :width]
    small = np.zeros((3, side, side), np.float32)
    for start in range(0, height, ROWS_AT_ONCE):
        rows = image[start : start + ROWS_AT_ONCE].transpose(2, 0, 1).astype(np.float32)
        small += down[:, start : start + ROWS_AT_ONCE] @ (rows @ across.T)
    shift, spread = (np.array(numbers, np.float32)[:, None, None] for numbers in (mean, std))
    pixels: FloatArray = (small * np.float32(scale) - shift) / spread
    return pixels


def boxes_from_square(boxes: FloatArray, image_hw: tuple[int, int]) -> FloatArray:
    """Boxes N x 4, cxcywh as parts of the square -> xyxy in the image, which is its corner."""
    side = max(image_hw)
    return clip_boxes(boxes_in_image(boxes, side, side), image_hw)


@lru_cache(maxsize=16)
def _shrinking(side: int, size: int) -> FloatArray:
    """The matrix, size x side, that blurs a line of pixels and resizes it."""
    places = np.clip((np.arange(size) + 0.5) * (side / size) - 0.5, 0, None)
    left = np.minimum(np.floor(places).astype(np.int64), side - 1)
    right = np.minimum(left + 1, side - 1)
    kernel = _blur(side / size)
    reach = len(kernel) // 2
    matrix = np.zeros((size, side))
    for near, share in ((left, 1 - (places - left)), (right, places - left)):
        for step, weight in enumerate(kernel, start=-reach):
            # Beyond an edge the line is read backwards, the edge itself once.
            read = np.abs(near + step)
            read = np.where(read >= side, 2 * (side - 1) - read, read)
            np.add.at(matrix, (np.arange(size), read), share * weight)
    return matrix.astype(np.float32)


def _blur(factor: float) -> FloatArray:
    """A Gaussian as wide as the new pixels are large; one pixel alone where none is made larger."""
    sigma = max(0.0, (factor - 1) / 2)
    if sigma == 0:
        return np.ones(1, np.float32)
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


TEMPLATE = "a photo of a {}"
"""How the published examples put a class; a phrase too long for it is asked as it is."""

KEPT_PHRASES = 8192
PHRASES_PER_CALL = 64


def token_rows(tokenizer: Any, phrases: Sequence[str], *, limit: int, model: str) -> IntArray:
    """Token ids N x L of phrases in the template, padded with 0; limit: L.

    Raises PromptError for a phrase that the vocabulary can't tell from others, or that is too long.
    """
    bare = token_ids(tokenizer, phrases, model=model)
    asked = token_ids(tokenizer, [TEMPLATE.format(phrase) for phrase in phrases], model=model)
    most = limit - 2
    rows = np.zeros((len(phrases), limit), np.int64)
    for row, phrase, long, short in zip(rows, phrases, asked, bare, strict=True):
        ids = long if len(long) <= most else short
        if len(ids) > most:
            raise too_long(phrase, len(ids), most)
        row[: len(ids) + 2] = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    return rows
