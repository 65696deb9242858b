"""Phrases as OmDet-Turbo reads them: each by itself, and all in a sentence; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.detector.spelling import token_ids, too_long
from perception.detector.text_passes import groups
from perception.types import IntArray

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
