"""The second half of every segmenter: prompts in pieces, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perception.errors import PromptError
from perception.segmenter.prompts import PromptRows, prompt_rows
from perception.types import Embedding, FloatArray, MaskCandidates, Prompt

RunDecoder = Callable[[FloatArray, PromptRows], tuple[FloatArray, FloatArray]]
"""Features C x h x w and P rows -> logits P x 4 x 4h x 4w, quality P x 4."""

ROWS_PER_CALL = 16
"""Prompts per call of a decoder: full-size SAM needs tens of megabytes for each."""


def decode_prompt(
    embedding: Embedding,
    prompt: Prompt,
    *,
    model: str,
    mask_size: int,
    run: RunDecoder,
    rows_per_call: int = ROWS_PER_CALL,
) -> MaskCandidates:
    """Answer a prompt with ``run``; model: who must have made the embedding."""
    if embedding.model != model:
        raise PromptError(
            f"this embedding was made by {embedding.model}, not by {model}: "
            "encode the picture with the segmenter that decodes it"
        )
    rows = prompt_rows(prompt, embedding.frame, mask_size)
    logits = np.empty((len(rows), 4, mask_size, mask_size), np.float32)
    quality = np.empty((len(rows), 4), np.float32)
    for start in range(0, len(rows), rows_per_call):
        part = slice(start, start + rows_per_call)
        logits[part], quality[part] = run(embedding.features, rows[part])
    return MaskCandidates(logits, quality, embedding.frame, ambiguous=prompt.is_ambiguous)
