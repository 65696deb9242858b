"""Tokenizers of the published models: BERT's WordPiece and CLIP's byte pairs; no torch.

Words are split at white space and punctuation, and each into the longest pieces that the list
holds; a piece inside a word begins with "##". A word that can't be spelled so is one unknown token.

Each word is the bytes of its UTF-8; of neighbours that the list knows as a pair, the pair that
stands first in it becomes one piece, again and again. The piece that ends a word ends with "</w>".
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from perception.errors import WeightsError
from perception.imaging.read import printable

LONGEST_WORD = 100
"""Longer words are unknown as a whole."""

_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
"""Characters that are words of their own."""


class WordPiece:
    """pieces: the list, where a piece's place is its token; lower_case: read without case, accents.

    Raises WeightsError for a list without BERT's marks.
    """

    def __init__(self, pieces: Sequence[str], *, lower_case: bool = True) -> None:
        self.ids = {piece: number for number, piece in enumerate(pieces)}
        self.lower_case = lower_case
        missing = [mark for mark in ("[UNK]", "[CLS]", "[SEP]", ".") if mark not in self.ids]
        if missing:
            raise WeightsError(f"a BERT vocabulary holds {', '.join(missing)}: this one doesn't")
        self.unk_token_id = self.ids["[UNK]"]
        self.cls_token_id, self.sep_token_id = self.ids["[CLS]"], self.ids["[SEP]"]
        self.separator_id = self.ids["."]

    @classmethod
    def load(cls, path: Path, *, lower_case: bool = True) -> WordPiece:
        """Reads a vocabulary file: one piece a line, UTF-8.

        Raises WeightsError when it is missing, or another kind of file.
        """
        shown = printable(str(path))
        try:
            return cls(path.read_text(encoding="utf-8").split("\n"), lower_case=lower_case)
        except OSError as error:
            raise WeightsError(f"{shown}: the vocabulary can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise WeightsError(f"{shown}: expected a vocabulary, a text file in UTF-8") from None
        except WeightsError as error:
            raise WeightsError(f"{shown}: {error}") from None

    def __call__(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = False,
        split_special_tokens: bool = True,
    ) -> dict[str, list[list[int]]]:
        """The tokens of each text as ``input_ids``: the call that transformers' tokenizers take.

        A mark such as "[SEP]" in a text is text, and no marks are put around it: what the two
        options say by default, and all there is.
        """
        if add_special_tokens or not split_special_tokens:
            raise ValueError("only the texts' own tokens are given")
        return {"input_ids": [self.encode(text) for text in texts]}

    def encode(self, text: str) -> list[int]:
        """The tokens of one text, without any around them."""
        return [token for word in self._words(text) for token in self._pieces(word)]

    def _words(self, text: str) -> Iterator[str]:
        text = "".join(map(_spaced, text))
        if self.lower_case:
            parts = unicodedata.normalize("NFD", text)
            text = "".join(char for char in parts if unicodedata.category(char) != "Mn").lower()
        for part in text.split():
            word = ""
            for char in part:
                if _is_punctuation(char):
                    yield from (word, char) if word else (char,)
                    word = ""
                else:
                    word += char
            if word:
                yield word

    def _pieces(self, word: str) -> list[int]:
        if len(word) > LONGEST_WORD:
            return [self.unk_token_id]
        tokens: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                token = self.ids.get(prefix + word[start:end])
                if token is not None:
                    break
            else:
                return [self.unk_token_id]
            tokens.append(token)
            start = end
        return tokens


def _spaced(char: str) -> str:
    """White space as a space, signs that nobody sees as nothing, CJK as a word."""
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    if char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co"):
        return ""
    code = ord(char)
    return f" {char} " if any(low <= code <= high for low, high in _CJK) else char


def _is_punctuation(char: str) -> bool:
    """All of ASCII's signs, and what Unicode calls punctuation."""
    if char.isascii():
        return not char.isalnum() and char.isprintable() and char != " "
    return unicodedata.category(char).startswith("P")


BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"

_KEPT = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))
"""Bytes that stand for themselves, as the signs of Latin-1; the others are signs from 0x100 on."""

_SPACES = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | frozenset(
    map(chr, range(0x2000, 0x200B))
)
"""White space as Unicode defines it; ``str.isspace`` counts four separators more."""

_WORDS = re.compile(r"(<\|)(startoftext|endoftext)(\|>)|'(?:s|t|re|ve|m|ll|d)|[a-z]+|0|[^ a-z0]+")
"""Over the shadow of a text: its marks, in three words, endings, words, digits, other signs."""

Pair = tuple[str, str]


class BytePairs:
    """ids: the token of each piece; merges: pairs of pieces that become one, the first ones first.

    Raises WeightsError for a list without CLIP's marks, a byte, or a piece that a merge makes.
    """

    def __init__(self, ids: Mapping[str, int], merges: Sequence[Pair]) -> None:
        self.ids = dict(ids)
        self._letters = _letters()
        self._ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
        needed = [BEGIN, END, *self._letters, *(letter + WORD_END for letter in self._letters)]
        needed += [left + right for left, right in merges]
        missing = [piece for piece in needed if piece not in self.ids]
        if missing:
            raise WeightsError(f"a CLIP vocabulary holds {printable(missing[0])}: this one doesn't")
        self.bos_token_id, self.eos_token_id = self.ids[BEGIN], self.ids[END]
        # As published. Texts are made of bytes, so none of them has it.
        self.unk_token_id = self.eos_token_id

    @classmethod
    def load(cls, path: Path) -> BytePairs:
        """Reads what ``perception export`` writes: JSON with "vocab" and "merges".

        Raises WeightsError when it is missing, or another kind of file.
        """
        shown = printable(str(path))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            ids = {str(piece): int(token) for piece, token in content["vocab"].items()}
            merges = [(str(left), str(right)) for left, right in content["merges"]]
        except OSError as error:
            raise WeightsError(f"{shown}: the vocabulary can't be read: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise WeightsError(
                f'{shown}: expected a vocabulary, JSON with "vocab" and "merges"'
            ) from None
        try:
            return cls(ids, merges)
        except WeightsError as error:
            raise WeightsError(f"{shown}: {error}") from None

    def __call__(
        self,
        texts: Sequence[str],
        *,
        add_special_tokens: bool = False,
        split_special_tokens: bool = True,
    ) -> dict[str, list[list[int]]]:
        """The tokens of each text as ``input_ids``: the call that transformers' tokenizers take.

        A mark such as "<|endoftext|>" in a text is text, and no marks are put around it: what the
        two options say by default, and all there is.
        """
        if add_special_tokens or not split_special_tokens:
            raise ValueError("only the texts' own tokens are given")
        return {"input_ids": [self.encode(text) for text in texts]}

    def encode(self, text: str) -> list[int]:
        """The tokens of one text, without any around them."""
        return [token for word in _words(text) for token in self._tokens(word)]

    def _tokens(self, word: str) -> list[int]:
        try:
            parts = [self._letters[byte] for byte in word.encode()]
        except UnicodeEncodeError:  # Half a character, from an argument that is no UTF-8.
            return [self.unk_token_id]
        parts[-1] += WORD_END
        while len(parts) > 1:
            pairs = set(pairwise(parts)) & self._ranks.keys()
            if not pairs:
                break
            parts = _merged(parts, min(pairs, key=self._ranks.__getitem__))
        return [self.ids[part] for part in parts]


def _letters() -> list[str]:
    """The sign that stands for each byte."""
    letters, others = [], 0
    for byte in range(256):
        if any(byte in kept for kept in _KEPT):
            letters.append(chr(byte))
        else:
            letters.append(chr(256 + others))
            others += 1
    return letters


def _merged(parts: Sequence[str], pair: Pair) -> list[str]:
    """The parts with each such pair, from the left, as one."""
    out: list[str] = []
    place = 0
    while place < len(parts):
        if tuple(parts[place : place + 2]) == pair:
            out.append(pair[0] + pair[1])
            place += 2
        else:
            out.append(parts[place])
            place += 1
    return out


def _words(text: str) -> Iterator[str]:
    """The words of a text, in small letters: each sign by itself, so without a final sigma."""
    text = "".join(char.lower() for char in unicodedata.normalize("NFC", text))
    for found in _WORDS.finditer("".join(map(_shadow, text))):
        groups = range(1, 4) if found[1] else (0,)
        for group in groups:
            yield text[slice(*found.span(group))]


def _shadow(char: str) -> str:
    """What kind of sign it is; those that ``_WORDS`` spells out are themselves."""
    if char in _SPACES:
        return " "
    kind = unicodedata.category(char)[0]
    if kind == "L":
        return char if char.isascii() else "q"  # Which stands in none of the words spelled out.
    if kind == "N":
        return "0"
    return char if char in "'<|>" else "."
