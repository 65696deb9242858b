"""OmDet-Turbo on ONNX Runtime; no torch.

Three files and a vocabulary, as ``perception export`` writes them. The text side takes ``ids``
N x L and gives ``phrases`` N x C, each read by itself, and ``words`` N x L x D, for the sentence
that asks for all of them. The image side takes ``pixels`` 1 x 3 x S x S and gives ``level0``,
``level1`` and so on, 1 x D x h x w each. The third takes ``phrases`` P x C, ``words`` T x D and the
levels as ``map0``..., and gives ``boxes`` Q x 4, cxcywh as parts of the image, and ``logits``
Q x P. All files carry ``ClipMetadata``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.detectors.decode import candidates, join_passes
from perception.detectors.onnx_files import (
    OMDET_TURBO,
    boxes_in_image,
    fitted_pixels,
    open_clip_files,
    thickened,
)
from perception.detectors.protocol import Detector
from perception.detectors.text import TextMemory, groups, token_ids, too_long
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases
from perception.types import Candidates, FloatArray, ImageArray, IntArray


class OnnxOmDetTurbo(Detector):
    """A ``Detector`` over the three ONNX files and the vocabulary.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    phrases_independent = False  # The sentence touches each box.

    def __init__(
        self,
        text_path: str | Path,
        image_path: str | Path,
        boxes_path: str | Path,
        vocab_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        paths = (text_path, image_path, boxes_path)
        files = open_clip_files(paths, OMDET_TURBO, vocab_path, threads=threads, device=device)
        self._text, self._image, self._boxes = files.sessions
        self.metadata, self._tokenizer = files.metadata, files.tokenizer
        self.name, self.side = self.metadata.name, self.metadata.side
        self._phrases: TextMemory[str, FloatArray] = TextMemory(KEPT_PHRASES)
        self._tasks: TextMemory[tuple[int, ...], FloatArray] = TextMemory(KEPT_TASKS)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        limit = self.metadata.limit
        asked = questions(self._tokenizer, phrases.phrases, limit=limit, model=self.name)
        vectors = np.stack(self._phrases.get_all(phrases.phrases, self._encode))  # P x C
        return [self._one(image, vectors, asked, floor) for image in images]

    def _one(
        self, image: ImageArray, vectors: FloatArray, asked: Sequence[Question], floor: float
    ) -> Candidates:
        about = self.metadata
        square = (about.side, about.side)
        pixels = fitted_pixels(thickened(image), square, about.mean, about.std)
        levels = self._image.run(None, {"pixels": pixels[None]})
        maps = {f"map{number}": level for number, level in enumerate(levels)}
        found = [self._ask(image, maps, vectors, one, floor) for one in asked]
        return join_passes(found, [one.phrases for one in asked], queries=about.queries)

    def _ask(
        self,
        image: ImageArray,
        maps: dict[str, FloatArray],
        vectors: FloatArray,
        question: Question,
        floor: float,
    ) -> Candidates:
        """What one sentence finds in an image."""
        words = self._tasks.get(question.ids, lambda: self._read(question.ids))
        given = {"phrases": vectors[question.phrases], "words": words, **maps}
        boxes, logits = self._boxes.run(["boxes", "logits"], given)
        height, width = image.shape[:2]
        placed = clip_boxes(boxes_in_image(boxes, width, height), (height, width))
        return candidates(placed, logits, floor=floor)

    def _read(self, ids: Sequence[int]) -> FloatArray:
        """The words of a sentence, T x D."""
        (words,) = self._text.run(["words"], {"ids": np.array([ids], np.int64)})
        found: FloatArray = words[0]
        return found

    def _encode(self, phrases: Sequence[str]) -> list[FloatArray]:
        """What is read in each phrase by itself, C."""
        rows = phrase_rows(self._tokenizer, phrases, model=self.name)
        return [one for part in rows for one in self._text.run(["phrases"], {"ids": part})[0]]


KEPT_PHRASES = 8192
KEPT_TASKS = 1024
PHRASES_PER_CALL = 64


@dataclass(frozen=True, eq=False)
class Question:
    """Which phrases one sentence asks for, and its token ids."""

    phrases: IntArray
    ids: tuple[int, ...]


def questions(tokenizer: Any, phrases: Sequence[str], *, limit: int, model: str) -> list[Question]:
    """The phrases as sentences like "detect cat, dog.", as the model was trained with.

    limit: tokens of a sentence. Raises PromptError for a phrase that the vocabulary can't tell from
    others, or that is too long.
    """
    tokens = token_ids(tokenizer, phrases, model=model)
    before, comma, after = token_ids(tokenizer, ["detect", ",", "."], model=model)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    room = limit - 2 - len(before)
    for phrase, ids in zip(phrases, tokens, strict=True):
        if len(ids) + len(after) > room:
            raise too_long(phrase, len(ids), room - len(after))
    found = []
    for some in groups([len(ids) + 1 for ids in tokens], room):
        inner = [token for phrase in some for token in (*comma, *tokens[phrase])]
        sentence = (begin, *before, *inner[len(comma) :], *after, end)
        found.append(Question(np.array(some, np.int64), sentence))
    return found


def phrase_rows(tokenizer: Any, phrases: Sequence[str], *, model: str) -> Iterator[IntArray]:
    """Token ids N x L of some phrases at a time, padded with the end token."""
    tokens = token_ids(tokenizer, phrases, model=model)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for start in range(0, len(tokens), PHRASES_PER_CALL):
        part = tokens[start : start + PHRASES_PER_CALL]
        # What follows the first end token is never read.
        rows = np.full((len(part), 2 + max(map(len, part))), end, np.int64)
        for row, ids in zip(rows, part, strict=True):
            row[: len(ids) + 1] = [begin, *ids]
        yield rows
