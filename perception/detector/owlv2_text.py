"""Phrases as OWLv2 reads them: each in a template, a row of tokens of its own; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perception.detector.spelling import token_ids, too_long
from perception.types import IntArray

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
