"""Phrases as sub-word tokens: greedy longest match over a list of pieces, as in WordPiece.

A word is split into the longest pieces that the vocabulary holds; pieces inside a word begin with
"##". An emoji is read by its Unicode name. Characters that no piece covers, such as Chinese, share
a few buckets, so that different phrases stay different.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.errors import PromptError, WeightsError
from perception.types import IntArray

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
