"""From prompts to masks for every segmenter: prompt rows, and pieces that bound memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import numpy as np

from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.types import (
    MASKS,
    Embedding,
    FloatArray,
    IntArray,
    MaskCandidates,
    Prompt,
    Proposals,
)

CELL_BYTES, CELL_BYTES_GPU = 8 << 20, 256 << 20
"""What arrays of the size of the prompts' cells may take in one call; the upscaler's are. On a CPU
more would fall out of its cache: many prompts a call take longer for each than two."""


MAX_BYTES = 2 << 30
"""What the logits of one answer may take; ``Model.segment`` asks in parts and keeps run lengths."""


class Decoder(Protocol):
    """What a runtime brings.

    model: whose embeddings it reads; mask_size: h = w of its logits; rows_per_call: how many
    prompts it runs at once, see ``rows_per_call``.
    """

    model: str
    mask_size: int
    rows_per_call: int

    def prepare(self, embedding: Embedding) -> Any:
        """What all prompts on an image share."""
        ...

    def run(
        self, image: Any, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """P rows on one prepared image -> the masks whose quality reaches least_quality (4).

        Returns logits K x h x w, which they are as 4 * row + mask, K, and the quality P x 4 of all.
        """
        ...


class DecodesPrompts:
    """What is the same in every ``Segmenter`` that has a ``Decoder``."""

    _decoder: Decoder

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(self._decoder, embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return propose_masks(self._decoder, embedding, points, least_quality)


def rows_per_call(embedding_shape: tuple[int, int, int], *, gpu: bool) -> int:
    """How many prompts a decoder should run at once, by the shape C x h x w of its embeddings."""
    limit = CELL_BYTES_GPU if gpu else CELL_BYTES
    return max(1, limit // (4 * int(np.prod(embedding_shape))))


def decode_prompt(decoder: Decoder, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
    """All four masks of each prompt; raises PromptError as ``Segmenter.decode``."""
    _check_model(decoder, embedding)
    rows = prompt_rows(prompt, embedding.frame, decoder.mask_size)
    most = MAX_BYTES // (4 * MASKS * decoder.mask_size**2)
    if len(rows) > most:
        raise PromptError(
            f"the logits of {len(rows)} prompts don't fit into memory: ask {most} at a time, or "
            "use Model.segment, which keeps compact masks"
        )
    logits = np.empty((len(rows), MASKS, decoder.mask_size, decoder.mask_size), np.float32)
    quality = np.empty((len(rows), MASKS), np.float32)
    every = np.full(MASKS, -inf, np.float32)
    for part, image in _pieces(decoder, embedding, len(rows)):
        masks, _, quality[part] = decoder.run(image, rows[part], every)
        logits[part] = masks.reshape(logits[part].shape)
    return MaskCandidates(logits, quality, embedding.frame, ambiguous=prompt.is_ambiguous)


def propose_masks(
    decoder: Decoder, embedding: Embedding, points: FloatArray, least_quality: float
) -> Proposals:
    """The good candidates of each lone point; raises PromptError as ``Segmenter.propose``."""
    _check_model(decoder, embedding)
    rows = point_rows(points, embedding.frame)
    least = np.array([inf, *[least_quality] * (MASKS - 1)], np.float32)
    size = decoder.mask_size
    found = [
        (np.empty((0, size, size), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))
    ]
    for part, image in _pieces(decoder, embedding, len(rows)):
        logits, which, quality = decoder.run(image, rows[part], least)
        found.append((logits, which + MASKS * part.start, quality.reshape(-1)[which]))
    logits, which, quality = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return Proposals(logits, quality, which // MASKS, which % MASKS, embedding.frame)


def _check_model(decoder: Decoder, embedding: Embedding) -> None:
    if embedding.model != decoder.model:
        raise PromptError(
            f"this embedding was made by {embedding.model}, not by {decoder.model}: "
            "encode the image with the segmenter that decodes it"
        )


def _pieces(decoder: Decoder, embedding: Embedding, prompts: int) -> Iterator[tuple[slice, Any]]:
    """Rows that go into one call, and their image."""
    if prompts:
        image = decoder.prepare(embedding)
        for start in range(0, prompts, decoder.rows_per_call):
            yield slice(start, start + decoder.rows_per_call), image


PAD, TOP_LEFT, BOTTOM_RIGHT = -1, 2, 3
"""SAM's labels of places beside 0 (a point outside the thing) and 1 (a point inside)."""


@dataclass(frozen=True, eq=False)
class PromptRows:
    """P prompts as a decoder takes them.

    coords: P x K x 2 (x, y) in pixels of the model's input, without SAM's + 0.5;
    labels: P x K; mask_logits: P x h x w, earlier answers, or None.
    """

    coords: FloatArray
    labels: IntArray
    mask_logits: FloatArray | None

    def __len__(self) -> int:
        return len(self.coords)

    def __getitem__(self, rows: slice) -> PromptRows:
        masks = None if self.mask_logits is None else self.mask_logits[rows]
        return PromptRows(self.coords[rows], self.labels[rows], masks)


def prompt_rows(prompt: Prompt, frame: Frame, mask_size: int) -> PromptRows:
    """The rows of a prompt on an image.

    All points are one row, closed by a padding place, as SAM was trained; each box is a row of two
    corners; points with one box are one row: the points, then the corners.

    Raises PromptError where a place is outside the image, or where an earlier mask isn't
    mask_size x mask_size.
    """
    masks = prompt.mask_logits
    if masks is not None and masks.shape[1:] != (mask_size, mask_size):
        raise PromptError(
            f"an earlier mask is {mask_size} x {mask_size} logits of this model, "
            f"got {masks.shape[1]} x {masks.shape[2]}: feed back what decode returned"
        )
    fitted = frame.fit_prompt(prompt)
    points = frame.points_to_model(fitted.points)  # K x 2
    corners = frame.boxes_to_model(fitted.boxes).reshape(-1, 2, 2)  # N x 2 x 2
    labels = np.ones(len(points), np.int64) if fitted.point_labels is None else fitted.point_labels
    corner_labels = np.array([TOP_LEFT, BOTTOM_RIGHT], np.int64)
    if not len(points):
        return PromptRows(corners, np.tile(corner_labels, (len(corners), 1)), masks)
    if not len(corners):
        corners, corner_labels = np.zeros((1, 1, 2), np.float32), np.array([PAD], np.int64)
    coords = np.concatenate((points, corners[0]))
    return PromptRows(coords[None], np.concatenate((labels, corner_labels))[None], masks)


def point_rows(points: FloatArray, frame: Frame) -> PromptRows:
    """N lone points of an image, N x 2, as N rows, each closed by a padding place.

    Raises PromptError where a point is outside the image.
    """
    inside = frame.points_to_model(frame.fit_prompt(Prompt(points=points)).points)
    coords = np.stack((inside, np.zeros_like(inside)), axis=1)  # N x 2 x 2
    return PromptRows(coords, np.tile(np.array([1, PAD], np.int64), (len(coords), 1)), None)
