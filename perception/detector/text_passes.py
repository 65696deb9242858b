"""Phrases packed into the texts that a grounding model reads, with each phrase's exact span.

A text is ``[CLS] phrase . phrase . [SEP]``, assembled from token ids, so that nothing has to be
found in it again. Which tokens see one another, and their positions, come from the spans, too: a
phrase that contains a dot stays one phrase. More phrases than one text holds go into several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from perception.types import BoolArray, IntArray


class Marks(NamedTuple):
    """The token ids around phrases: the text begins and ends with these, and each phrase ends."""

    begin: int
    end: int
    separator: int


@dataclass(frozen=True, eq=False)
class TextPass:
    """One text of T tokens with P phrases.

    ids: T; positions: T, counted from the start of each phrase; blocks: T, tokens of one block see
    one another and no others: each phrase with its separator, begin and end alone; spans: P x 2,
    the half-open range of each phrase's own tokens, without the separator; phrases: P, which of the
    asked ones they are.
    """

    ids: IntArray
    positions: IntArray
    blocks: IntArray
    spans: IntArray
    phrases: IntArray

    @property
    def key(self) -> tuple[int, ...]:
        """What the model's answer to this text depends on: equal keys, equal answers."""
        return (*self.ids.tolist(), -1, *self.blocks.tolist())

    def attention(self) -> BoolArray:
        """Which token sees which, T x T."""
        sees: BoolArray = self.blocks[:, None] == self.blocks[None, :]
        return sees


def pack(tokens: Sequence[Sequence[int]], marks: Marks, *, limit: int) -> list[TextPass]:
    """Phrases, as token ids of at least one token each, in as few texts as their order allows.

    limit: tokens of one text, begin, end and separators included. Raises ValueError for a phrase
    that no text can hold.
    """
    return [
        _assemble([tokens[phrase] for phrase in some], some, marks)
        for some in groups([len(ids) + 1 for ids in tokens], limit - 2)
    ]


def groups(lengths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Numbers of phrases that follow one another and whose lengths together fit into ``room``."""
    group: list[int] = []
    used = 0
    for phrase, length in enumerate(lengths):
        if length > room:
            raise ValueError(f"phrase {phrase} needs {length} tokens, a text holds {room}")
        if used + length > room:
            yield group
            group, used = [], 0
        group.append(phrase)
        used += length
    if group:
        yield group


def longest_phrase(limit: int) -> int:
    """How many tokens a phrase may have in a text of at most ``limit``."""
    return limit - 3


def _assemble(tokens: Sequence[Sequence[int]], phrases: Sequence[int], marks: Marks) -> TextPass:
    ids, positions, blocks, spans = [marks.begin], [0], [0], []
    for block, phrase in enumerate(tokens, start=1):
        spans.append((len(ids), len(ids) + len(phrase)))
        ids += [*phrase, marks.separator]
        positions += range(len(phrase) + 1)
        blocks += [block] * (len(phrase) + 1)
    return TextPass(
        np.array([*ids, marks.end], np.int64),
        np.array([*positions, 0], np.int64),
        np.array([*blocks, len(tokens) + 1], np.int64),
        np.array(spans, np.int64).reshape(-1, 2),
        np.array(phrases, np.int64),
    )
