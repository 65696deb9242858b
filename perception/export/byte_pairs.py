"""A CLIP tokenizer as the file that the core reads, if the core reads texts as that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from perception.detector.byte_pairs import WORD_END, BytePairs
from perception.errors import ExportError, WeightsError

ODD = (
    "",
    "a photo of a cat",
    "The  dog's\tball, isn't it? They'll've 'sled' I'd''s",
    "Dr. Pepper 1999½ ²x² №5 Ⅷ U+1F600 3.14 a_b-c/d\\e #!?",
    "naïve Ångström e\u0301 ΣΑΣ İstanbul straße ǅ ﬁ кот 猫 ねこ القط हिन्दी",
    "🙂 👩‍👩‍👧 ❤️ 🏳️‍🌈 …“quoted”—dash\u200b\u00a0\u3000",
    "<|startoftext|>a<|endoftext|>! <|pad|> [SEP] </w>",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
)
"""What tokenizers may read in different ways."""

STEP, LINE = 8, 50


def byte_pairs_content(tokenizer: Any) -> bytes:
    """The file of a tokenizer, transformers' for CLIP, as ``BytePairs.load`` reads it.

    It is tried with odd texts and with each ``STEP``-th piece of its own vocabulary. Raises
    ExportError for one of another make.
    """
    ids, merges = _tables(tokenizer)
    try:
        ours = BytePairs(ids, merges)
    except WeightsError as error:
        raise ExportError(f"the tokenizer can't be exported: {error}") from None
    texts = [*ODD, *_lines(ids)]
    theirs = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for text, want in zip(texts, theirs, strict=True):
        if ours.encode(text) != want:
            raise ExportError(
                f"the tokenizer can't be exported: it isn't CLIP's, by how it reads {text[:40]!a}"
            )
    marks = [(one.bos_token_id, one.eos_token_id, one.unk_token_id) for one in (ours, tokenizer)]
    if marks[0] != marks[1]:
        raise ExportError("the tokenizer can't be exported: its marks aren't CLIP's")
    return json.dumps(
        {"vocab": ids, "merges": merges}, ensure_ascii=False, separators=(",", ":")
    ).encode()


def _tables(tokenizer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Its tokens by piece, and its merges, the first ones first."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE" or model.get("end_of_word_suffix") != WORD_END:
        raise ExportError("the tokenizer can't be exported: it isn't CLIP's, with byte pairs")
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return model["vocab"], [(left, right) for left, right in merges]


def _lines(ids: dict[str, int]) -> Iterator[str]:
    """Pieces as words, many in a line."""
    words = [piece.removesuffix(WORD_END) for piece in list(ids)[::STEP]]
    for start in range(0, len(words), LINE):
        yield " ".join(words[start : start + LINE])
