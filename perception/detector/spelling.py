"""Phrases as the published models' tokenizers read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from perception.errors import PromptError

SHOWN = 40
"""How many characters of a phrase an error shows."""


def spell(phrase: str) -> str:
    """The phrase with its symbols by name, since no published vocabulary has them: emoji, say."""
    return " ".join("".join(map(_spell, phrase)).split())


def token_ids(tokenizer: Any, phrases: Sequence[str], *, model: str) -> list[list[int]]:
    """The token ids of each phrase, without any around it.

    Raises PromptError for a phrase that the vocabulary can't tell from others.
    """
    # A phrase that looks like one of the tokenizer's own marks is text like any other.
    found = tokenizer(
        [spell(phrase) for phrase in phrases], add_special_tokens=False, split_special_tokens=True
    )
    ids: list[list[int]] = found["input_ids"]
    for phrase, own in zip(phrases, ids, strict=True):
        if not own or tokenizer.unk_token_id in own:
            raise PromptError(
                f'"{shown(phrase)}" has words that {model} doesn\'t know: name it in English'
            )
    return ids


def too_long(phrase: str, tokens: int, most: int) -> PromptError:
    """What to say of a phrase with more tokens than fit: nothing is cut off silently."""
    return PromptError(
        f'the phrase "{shown(phrase)}" is {tokens} tokens long, at most {most} fit: '
        "shorten it, or separate phrases by a dot"
    )


def shown(phrase: str) -> str:
    """The phrase, or the beginning of a long one."""
    return phrase if len(phrase) <= SHOWN else f"{phrase[:SHOWN]}…"


def _spell(char: str) -> str:
    if unicodedata.category(char) == "So":
        return f" {unicodedata.name(char, char).lower()} "
    # Joiners and variation marks say nothing without their symbols.
    return "" if unicodedata.category(char) == "Cf" or char in "\ufe0e\ufe0f" else char
