"""The embedded detector on ONNX Runtime, with its tokenizer; no torch.

A word is split into the longest pieces that the vocabulary holds; pieces inside a word begin with
"##". An emoji is read by its Unicode name. Characters that no piece covers, such as Chinese, share
a few buckets, so that different phrases stay different.

Two halves answer: one for drawn things, one for photographs (``photo.py``), whose gate says which
of them a box belongs to; a half that no part of an image belongs to isn't asked.

The drawn half is two files and a vocabulary. The text side takes ``ids`` N x L (0 = padding) and
gives ``tokens`` N x L x D; it sees each phrase alone, so that its answers are kept. The image side
takes ``pixels`` 1 x 3 x S x S (normalized) and ``tokens`` T x D (those of all phrases, one after
another) and gives ``boxes`` 1 x Q x 4 in pixels of the model's input and ``logits`` 1 x Q x T.

The photograph half is one file, whose boxes have a vector of their own for each phrase, and the
table that these come from (``names.py``). All ONNX files carry ``DetectorMetadata``.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.detectors.decode import phrase_logits, scored
from perception.detectors.nano.names import Meaning
from perception.detectors.nano.photo_onnx import DrawnMap, PhotoHalf
from perception.detectors.nano.spec import IMAGE, TEXT, DetectorMetadata
from perception.detectors.protocol import Detector
from perception.errors import PromptError, WeightsError
from perception.imaging.preprocess import fit_picture
from perception.ops.boxes import clip_boxes
from perception.ops.masks import sigmoid
from perception.prompts.grammar import Phrases
from perception.runtime.onnx_session import open_session
from perception.types import Candidates, FloatArray, ImageArray, IntArray

PAD = "[PAD]"
BUCKETS = tuple(f"[UNK{k}]" for k in range(16))
SPECIAL = (PAD, *BUCKETS)
"""The first entries of every vocabulary, in this order."""

MAX_TOKENS = 32
"""Longest phrase, in tokens."""

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


class Tokenizer:
    """pieces: the vocabulary, ``SPECIAL`` first; a token's id is its place there.

    Raises WeightsError for a list that is no vocabulary.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        if tuple(pieces[: len(SPECIAL)]) != SPECIAL:
            raise WeightsError(
                "a vocabulary begins with [PAD] and the [UNK] buckets: this is another kind of file"
            )
        self.ids = {piece: index for index, piece in enumerate(pieces)}
        if len(self.ids) != len(pieces):
            raise WeightsError("a vocabulary holds each piece once: this one is damaged")
        self.longest = max(len(piece) for piece in pieces)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Reads a vocabulary file: one piece a line, UTF-8.

        Raises WeightsError when it is missing, or another kind of file.
        """
        try:
            return cls(path.read_text(encoding="utf-8").splitlines())
        except OSError as error:
            raise WeightsError(f"{path}: the vocabulary can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise WeightsError(f"{path}: expected a vocabulary, a text file in UTF-8") from None
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None

    def encode(self, phrase: str) -> list[int]:
        """The token ids of one phrase, at least one.

        Raises PromptError for a phrase of more than MAX_TOKENS tokens: nothing is cut off silently.
        """
        ids = [token for word in split_words(phrase) for token in self._pieces(word)]
        if len(ids) > MAX_TOKENS:
            shown = phrase if len(phrase) <= 40 else f"{phrase[:40]}…"
            raise PromptError(
                f'the phrase "{shown}" is {len(ids)} tokens long, at most {MAX_TOKENS} fit: '
                "shorten it, or separate phrases by a dot"
            )
        return ids or [self.ids[BUCKETS[0]]]

    def encode_batch(self, phrases: Sequence[str]) -> IntArray:
        """Token ids N x L, padded with 0."""
        rows = [self.encode(phrase) for phrase in phrases]
        ids = np.zeros((len(rows), max(map(len, rows), default=1)), np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        return ids

    def unknown_words(self, phrase: str) -> tuple[str, ...]:
        """The words of a phrase that are spelled from parts, as the vocabulary doesn't hold them.

        Plurals of words that it holds are known; numbers and signs aren't words.
        """
        return tuple(
            word
            for word in dict.fromkeys(split_words(phrase))
            if len(word) > 1
            and word.isalpha()
            and not any(
                stem in self.ids for stem in (word, _without(word, "s"), _without(word, "es"))
            )
        )

    def _pieces(self, word: str) -> list[int]:
        ids = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                token = self.ids.get(prefix + word[start:end])
                if token is not None:
                    break
            else:
                end = start + 1
                bucket = zlib.crc32(word[start].encode("utf-8", "replace")) % len(BUCKETS)
                token = self.ids[BUCKETS[bucket]]
            ids.append(token)
            start = end
        return ids


def split_words(phrase: str) -> list[str]:
    """Lower-case words without accents; punctuation stands alone, an emoji becomes its name."""
    spelled = "".join(_spell(char) for char in unicodedata.normalize("NFKD", phrase.casefold()))
    return _WORD.findall(unicodedata.normalize("NFC", spelled))


def _without(word: str, ending: str) -> str:
    """A word without an ending; one that stays too short for a word of its own is kept whole."""
    stem = word.removesuffix(ending)
    return stem if len(stem) > 2 else word


def _spell(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):  # accents, variation selectors, joiners
        return ""
    if category == "So":
        return f" {unicodedata.name(char, char).lower()} "
    return char


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
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        words = self._encode(phrases.phrases)
        meanings = [self._photo.table.read(phrase) for phrase in phrases.phrases]
        # One image at a time: on a CPU a batch is no faster, and so 20 images in one call give
        # to the last bit what 20 calls give.
        return [self._one(image, words, meanings, floor) for image in images]

    def unknown_words(self, phrase: str) -> tuple[str, ...]:
        """Return the words of a phrase that neither half of the detector was taught."""
        if self._photo.table.read(phrase).rows:
            return ()
        unknown = self._tokenizer.unknown_words(phrase)
        return tuple(word for word in unknown if not self._photo.table.read(word).rows)

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
        """What the drawn half sees: boxes Q x 4 of the image, scores Q x P."""
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
