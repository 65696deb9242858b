"""What is asked of a scene that measures: a phrase for each thing, and phrases for absent ones."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from scenes.words import Words, is_held_out, nearly, some_of


@dataclass(frozen=True)
class Question:
    """The phrases of one scene.

    phrase_of: for each thing the one phrase that is true of it; absent: those true of nothing.
    """

    phrase_of: list[str]
    absent: list[str]


def question(
    things: list[Words], names: list[str], rng: Generator, *, absent: int = 20
) -> Question:
    """Phrases such that each thing answers to exactly one of them, and some that none answers to.

    Attributes are asked at random; where that can't be told apart (a star is asked for by color,
    another by pattern, and a third has both), only the nouns are asked. Where there are shapes, a
    third of the absent phrases nearly are true: of another color, for example.
    """
    for _ in range(20):
        asked = _ask(things, rng)
        if all(sum(words.describes(thing) for words in asked) == 1 for thing in things):
            break
    else:
        asked = [Words(noun) for noun in dict.fromkeys(thing.noun for thing in things)]
    phrase_of = [str(next(w for w in asked if w.describes(thing))) for thing in things]
    return Question(phrase_of, _absent(things, names, rng, absent))


def _ask(things: list[Words], rng: Generator) -> list[Words]:
    asked: list[Words] = []
    for thing in things:
        if not any(words.describes(thing) for words in asked):
            asked.append(some_of(thing, rng) if thing.color else Words(thing.noun))
    return asked


def _absent(things: list[Words], names: list[str], rng: Generator, count: int) -> list[str]:
    shapes = [thing for thing in things if thing.color]
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        if shapes and len(chosen) < count // 3:
            words = nearly(shapes[int(rng.integers(len(shapes)))], rng)
        else:
            words = Words(names[int(rng.integers(len(names)))])
        if not is_held_out(words) and not any(words.describes(thing) for thing in things):
            chosen[str(words)] = None
    return list(chosen)
