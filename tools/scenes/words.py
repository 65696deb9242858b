"""What is true of a thing in a scene, and which phrases say so."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import product

from numpy.random import Generator

from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES


@dataclass(frozen=True)
class Words:
    """A description: of a thing (all that is known of it) or of a phrase (all that it asks for).

    noun: a concept or a shape; size, color and pattern are of shapes only, "" where not said.
    """

    noun: str
    size: str = ""
    color: str = ""
    pattern: str = ""

    def __str__(self) -> str:
        return " ".join(w for w in (self.size, self.color, self.pattern, self.noun) if w)

    def describes(self, thing: Words) -> bool:
        """Whether everything that this phrase asks for is true of the thing."""
        return self.noun == thing.noun and all(
            not asked or asked == true
            for asked, true in (
                (self.size, thing.size),
                (self.color, thing.color),
                (self.pattern, thing.pattern),
            )
        )


def is_held_out(words: Words) -> bool:
    """Whether this color of this shape (one pair in eight) is kept for measuring only."""
    pair = f"{words.color} {words.noun}"
    return bool(words.color) and words.noun in NOUNS and zlib.crc32(pair.encode()) % 8 == 0


TRAINED_PAIRS = [p for p in product(COLORS, NOUNS) if not is_held_out(Words(p[1], color=p[0]))]
HELD_OUT_PAIRS = [p for p in product(COLORS, NOUNS) if is_held_out(Words(p[1], color=p[0]))]


def some_of(thing: Words, rng: Generator) -> Words:
    """A phrase for a thing: its noun with some of its attributes."""
    size, color, pattern = rng.random(3) < (0.25, 0.6, 0.4)
    return Words(
        thing.noun,
        thing.size if size else "",
        thing.color if color else "",
        thing.pattern if pattern else "",
    )


def nearly(thing: Words, rng: Generator) -> Words:
    """A phrase that misses a shape by one attribute, or by its noun: the hard kind of absence."""
    said = {"noun": thing.noun, "size": thing.size, "color": thing.color}
    said["pattern"] = thing.pattern
    for name in ("size", "color", "pattern"):
        if rng.random() < 0.4:
            said[name] = ""
    choices = {"noun": NOUNS, "color": tuple(COLORS), "pattern": PATTERNS, "size": SIZES}
    wrong = str(rng.choice(["noun", "color", "color", "pattern", "size"]))
    said[wrong] = str(rng.choice([c for c in choices[wrong] if c != getattr(thing, wrong)]))
    return Words(**said)
