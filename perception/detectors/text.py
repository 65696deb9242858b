"""Phrases packed into prompts with exact token spans, their spelling, and a text cache.

A text is ``[CLS] phrase . phrase . [SEP]``, assembled from token ids, so that nothing has to be
found in it again. Which tokens see one another, and their positions, come from the spans, too: a
phrase that contains a dot stays one phrase. More phrases than one text holds go into several.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from perception.errors import PromptError
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


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TextMemory(Generic[Key, Value]):
    """Keeps at most ``size`` values; several threads may ask."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made now if it isn't known."""
        return self.get_all([key], lambda _: [make()])[0]

    def get_all(
        self, keys: Sequence[Key], make: Callable[[list[Key]], Sequence[Value]]
    ) -> list[Value]:
        """The values of ``keys``; those that aren't known are made in one call, each once."""
        with self._lock:
            have = {key: self._known[key] for key in keys if key in self._known}
        new = [key for key in dict.fromkeys(keys) if key not in have]
        if new:  # Not under the lock: two threads may make the same, which does no harm.
            have.update(zip(new, make(new), strict=True))
        with self._lock:
            for key in dict.fromkeys(keys):
                self._known[key] = have[key]
                self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return [have[key] for key in keys]
