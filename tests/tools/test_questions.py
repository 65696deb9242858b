from __future__ import annotations

import numpy as np
import pytest
from detection_batches import describes
from scenes.questions import question
from scenes.scene import Painter, Style
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.words import Words, is_held_out

NAMES = [f"thing {k}" for k in range(60)]
STARS = [
    Words("star", "small", "red", "plain"),
    Words("star", "large", "red", "dotted"),
    Words("star", "", "blue", "dotted"),
    Words("circle", "", "blue", "dotted"),
    Words("thing 3"),
    Words("thing 3"),
]


def parse_shape(phrase: str) -> Words:
    """A phrase with the attributes of shapes as words."""
    *attributes, noun = phrase.split()
    if noun not in NOUNS:
        return Words(phrase)
    said = {
        name: next((a for a in attributes if a in known), "")
        for name, known in (("size", SIZES), ("color", COLORS), ("pattern", PATTERNS))
    }
    return Words(noun, **said)


def all_said(phrase: str, thing: Words) -> bool:
    """Whether every word of a phrase is said of a thing."""
    if not phrase.endswith(thing.noun):
        return False
    attributes = phrase.removesuffix(thing.noun).split()
    return set(attributes) <= {thing.size, thing.color, thing.pattern}


@pytest.mark.parametrize("seed", range(25))
def test_each_thing_answers_to_exactly_one_phrase(seed: int) -> None:
    asked = question(STARS, NAMES, np.random.default_rng(seed))
    assert len(asked.phrase_of) == len(STARS)
    for thing, own in zip(STARS, asked.phrase_of, strict=True):
        answers = {p for p in asked.phrase_of if all_said(p, thing)}
        assert answers == {own}


@pytest.mark.parametrize("seed", range(25))
def test_nothing_answers_to_an_absent_phrase(seed: int) -> None:
    asked = question(STARS, NAMES, np.random.default_rng(seed))
    assert len(set(asked.absent)) == len(asked.absent) == 20
    assert not set(asked.absent) & set(asked.phrase_of)
    assert not any(all_said(phrase, thing) for phrase in asked.absent for thing in STARS)
    near = [phrase for phrase in asked.absent if not phrase.startswith("thing")]
    assert len(near) == 20 // 3


def test_what_can_not_be_told_apart_is_asked_by_its_noun() -> None:
    """Every thing shares all of its attributes with another: no attribute tells one of them."""
    things = [
        Words("star", size, color, pattern)
        for size in ("small", "large")
        for color in ("red", "blue", "green")
        for pattern in ("plain", "dotted", "striped")
    ]
    phrases = {
        p for s in range(8) for p in question(things, NAMES, np.random.default_rng(s)).phrase_of
    }
    assert "star" in phrases


@pytest.mark.parametrize("things", [[], [Words("thing 3")]])
@pytest.mark.parametrize("absent", [0, 5])
def test_without_shapes_only_names_are_asked(things: list[Words], absent: int) -> None:
    asked = question(things, NAMES, np.random.default_rng(0), absent=absent)
    assert asked.phrase_of == [str(thing) for thing in things]
    assert len(asked.absent) == absent
    assert set(asked.absent) <= set(NAMES) - {"thing 3"} or not things


def test_no_held_out_pair_is_asked_as_absent(painter: Painter) -> None:
    style = Style(things=(4, 9), shape_share=1.0, held_out_pairs=True)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scene = painter.draw((96, 128), rng, style)
        asked = question(scene.things, painter.names, rng)
        words = [parse_shape(phrase) for phrase in asked.absent]
        assert not any(is_held_out(one) for one in words)
        assert not describes(words, scene.things).any()
