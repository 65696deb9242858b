"""BERT's sub-word tokens from its list of pieces, as published models were trained with.

Words are split at white space and punctuation, and each into the longest pieces that the list
holds; a piece inside a word begins with "##". A word that can't be spelled so is one unknown token.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from perception.errors import WeightsError
from perception.images import printable

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
