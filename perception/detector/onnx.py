"""The nano detector on ONNX Runtime; needs no torch.

Two halves answer: one for drawn things, one for photographs (``photo.py``), whose gate says which
of them a box belongs to; a half that no part of an image belongs to isn't asked.

The drawn half is two files and a vocabulary. The text side takes ``ids`` N x L (0 = padding) and
gives ``tokens`` N x L x D; it sees each phrase alone, so that its answers are kept. The image side
takes ``pixels`` 1 x 3 x S x S (normalised) and ``tokens`` T x D (those of all phrases, one after
another) and gives ``boxes`` 1 x Q x 4 in pixels of the model's input and ``logits`` 1 x Q x T.

The photograph half is one file, whose boxes have a vector of their own for each phrase, and the
table that these come from (``names.py``). All ONNX files carry ``DetectorMetadata``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.boxes import clip_boxes
from perception.detector.decode import phrase_logits, scored
from perception.detector.names import Meaning
from perception.detector.onnx_metadata import IMAGE, TEXT, DetectorMetadata
from perception.detector.photo import DrawnMap, PhotoHalf
from perception.detector.protocol import Detector
from perception.detector.tokenizer import Tokenizer
from perception.errors import WeightsError
from perception.frame import fit_picture
from perception.log_odds import sigmoid
from perception.onnx_session import open_session
from perception.phrases import Phrases
from perception.types import Candidates, FloatArray, ImageArray

PHRASES_PER_CALL = 64
"""Of the text side: memory stays bounded, whatever is asked."""

CACHED_PHRASES = 4096
"""Phrases whose tokens are kept; one prompt may have more."""


class NanoDetector(Detector):
    """A ``Detector`` over three ONNX files, the vocabulary and the table of names.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    phrases_independent = True  # The image side only multiplies its regions with the tokens.

    def __init__(
        self,
        text_path: str | Path,
        image_path: str | Path,
        vocab_path: str | Path,
        photo_path: str | Path,
        names_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        self._text = open_session(text_path, threads=threads, device=device)
        self._image = open_session(image_path, threads=threads, device=device)
        self._tokenizer = Tokenizer.load(Path(vocab_path))
        metadata = DetectorMetadata.shared(
            (self._image, IMAGE, image_path), (self._text, TEXT, text_path)
        )
        if len(self._tokenizer.ids) != metadata.vocabulary:
            raise WeightsError(
                f"{vocab_path}: {len(self._tokenizer.ids)} pieces, {text_path} was trained with "
                f"{metadata.vocabulary}: use the vocabulary that came with it"
            )
        self._photo = PhotoHalf(photo_path, names_path, threads=threads, device=device)
        other = self._photo.metadata
        if (other.name, other.version) != (metadata.name, metadata.version):
            raise WeightsError(
                f"{image_path} and {photo_path} are of two models: export one of them again"
            )
        self.name, self.side = metadata.name, other.side
        self._drawn_side = metadata.side
        self._known: dict[str, FloatArray] = {}  # phrase -> L x D

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB picture H x W x 3 that reach ``floor``; see ``Detector``."""
        words = self._encode(phrases.phrases)
        meanings = [self._photo.table.read(phrase) for phrase in phrases.phrases]
        # One picture at a time: on a CPU a batch is no faster, and so 20 pictures in one call give
        # to the last bit what 20 calls give.
        return [self._one(image, words, meanings, floor) for image in images]

    def unknown_words(self, phrase: str) -> tuple[str, ...]:
        """The words of a phrase that aren't in the vocabulary that it was taught."""
        return self._tokenizer.unknown_words(phrase)

    def _one(
        self,
        image: ImageArray,
        words: Sequence[FloatArray],
        meanings: Sequence[Meaning],
        floor: float,
    ) -> Candidates:
        view = self._photo.view(image, meanings)
        boxes, scores = [], []
        if view.drawn.any_drawn or not view.drawn.any_photo:
            found, chances = self._drawn(image, words, view.drawn)
            boxes, scores = [found], [chances]
        if view.drawn.any_photo:
            boxes.append(view.boxes)
            scores.append(view.scores * view.drawn.weights(view.boxes)[1][:, None])
        return scored(np.concatenate(boxes), np.concatenate(scores), floor=floor)

    def _drawn(
        self, image: ImageArray, words: Sequence[FloatArray], drawn: DrawnMap
    ) -> tuple[FloatArray, FloatArray]:
        """What the drawn half sees: boxes Q x 4 of the picture, scores Q x P."""
        frame, pixels = fit_picture(image, self._drawn_side)
        tokens = np.concatenate(words)  # T x D
        spans = np.array([len(rows) for rows in words], np.int64)
        boxes, logits = self._image.run(["boxes", "logits"], {"pixels": pixels, "tokens": tokens})
        fitted = clip_boxes(frame.boxes_to_image(boxes[0]), frame.image_hw)
        chances = sigmoid(phrase_logits(logits[0], spans))
        return fitted, chances * drawn.weights(fitted)[0][:, None]

    def _encode(self, phrases: Sequence[str]) -> list[FloatArray]:
        """The tokens of each phrase, L x D, from the text side or from memory."""
        ids = {phrase: self._tokenizer.encode(phrase) for phrase in phrases}
        known = self._known  # Another thread may begin a new memory meanwhile.
        new = [phrase for phrase in ids if phrase not in known]
        if new and len(known) + len(new) > CACHED_PHRASES:
            known, new = {}, list(ids)
            self._known = known
        for start in range(0, len(new), PHRASES_PER_CALL):
            part = new[start : start + PHRASES_PER_CALL]
            (tokens,) = self._text.run(["tokens"], {"ids": self._tokenizer.encode_batch(part)})
            for phrase, rows in zip(part, tokens, strict=True):
                known[phrase] = rows[: len(ids[phrase])]
        return [known[phrase] for phrase in phrases]
