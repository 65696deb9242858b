from __future__ import annotations

import numpy as np
import pytest
from scenes.shapes import COLORS, NOUNS, PATTERNS
from scenes.words import (
    HELD_OUT_PAIRS,
    TRAINED_PAIRS,
    Words,
    is_held_out,
    nearly,
    some_of,
)

STAR = Words("star", "small", "red", "dotted")
MIDDLING = Words("star", "", "red", "plain")  # neither small nor large
CAT = Words("cat")


@pytest.mark.parametrize(
    ("phrase", "thing", "want"),
    [
        (Words("star"), STAR, True),
        (Words("star", color="red"), STAR, True),
        (Words("star", "small", "red", "dotted"), STAR, True),
        (Words("star", color="blue"), STAR, False),
        (Words("star", "large"), STAR, False),
        (Words("star", pattern="plain"), STAR, False),
        (Words("star", "small", "blue"), STAR, False),
        (Words("circle", color="red"), STAR, False),
        (Words("star", "small"), MIDDLING, False),
        (Words("star", "large"), MIDDLING, False),
        (Words("cat"), CAT, True),
        (Words("dog"), CAT, False),
        (Words("cat", color="black"), CAT, False),
    ],
    ids=lambda value: str(value),
)
def test_describes(phrase: Words, thing: Words, want: bool) -> None:
    assert phrase.describes(thing) is want


@pytest.mark.parametrize(
    ("words", "phrase"),
    [(CAT, "cat"), (STAR, "small red dotted star"), (Words("star", pattern="plain"), "plain star")],
)
def test_phrase(words: Words, phrase: str) -> None:
    assert str(words) == phrase


def test_pairs_are_trained_or_held_out_and_never_both() -> None:
    assert not set(TRAINED_PAIRS) & set(HELD_OUT_PAIRS)
    assert len(TRAINED_PAIRS) + len(HELD_OUT_PAIRS) == len(COLORS) * len(NOUNS)
    assert 0.08 < len(HELD_OUT_PAIRS) / (len(COLORS) * len(NOUNS)) < 0.18
    assert {color for color, _ in TRAINED_PAIRS} == set(COLORS)
    assert {noun for _, noun in TRAINED_PAIRS} == set(NOUNS)


def test_the_held_out_pairs_never_change() -> None:
    """They follow from a checksum, and the shipped weights were trained without just these."""
    assert len(HELD_OUT_PAIRS) == 17
    assert {("blue", "circle"), ("red", "ellipse"), ("white", "triangle")} <= set(HELD_OUT_PAIRS)


@pytest.mark.parametrize("color", ["", "orange"])
def test_only_a_color_of_a_shape_is_held_out(color: str) -> None:
    assert not is_held_out(Words("cat", color=color))
    assert not is_held_out(Words("star"))
    assert not is_held_out(Words("star", "small", "", "dotted"))
    held = HELD_OUT_PAIRS[0]
    assert is_held_out(Words(held[1], "large", held[0], "striped"))


def test_a_phrase_for_a_thing_is_true_of_it() -> None:
    rng = np.random.default_rng(0)
    phrases = [some_of(STAR, rng) for _ in range(300)]
    assert all(phrase.describes(STAR) for phrase in phrases)
    assert len(set(phrases)) == 8  # with and without each of three attributes
    assert some_of(CAT, rng) == CAT


@pytest.mark.parametrize("thing", [STAR, MIDDLING, Words("arrow", "large", "grey", "checkered")])
def test_nearly_is_never_true_of_its_thing(thing: Words) -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        phrase = nearly(thing, rng)
        assert not phrase.describes(thing)
        said = {name for name in ("noun", "size", "color", "pattern") if getattr(phrase, name)}
        wrong = {name for name in said if getattr(phrase, name) != getattr(thing, name)}
        assert len(wrong) == 1
        assert phrase.noun in NOUNS
        assert phrase.pattern in ("", *PATTERNS)
