"""The prompt grammar."""

import sys
import unicodedata
from dataclasses import fields

import numpy as np
import pytest

from perception.errors import PromptError
from perception.prompts.grammar import NEGATIVE, Phrases, _Builder, normalize, parse


@pytest.mark.parametrize(
    ("prompt", "phrases", "class_ids", "classes"),
    [
        ("cat", ["cat"], [0], ["cat"]),
        ("Cat. dog", ["cat", "dog"], [0, 1], ["Cat", "dog"]),
        (
            "person, vehicle: car | truck | bus, !mannequin",
            ["person", "car", "truck", "bus", "mannequin"],
            [0, 1, 1, 1, NEGATIVE],
            ["person", "vehicle"],
        ),
        ("car | automobile", ["car", "automobile"], [0, 0], ["car"]),
        ("!a | b. c", ["a", "b", "c"], [NEGATIVE, NEGATIVE, 0], ["c"]),
        ("vehicle: car. vehicle: truck", ["car", "truck"], [0, 0], ["vehicle"]),
        ("猫。红色的星，！狗；交通：车｜船", ["猫", "红色的星", "狗", "车", "船"], None, None),
        ('"dr. pepper". cola', ["dr. pepper", "cola"], [0, 1], ["dr. pepper", "cola"]),
        ("“a: b, !c”", ["a: b, !c"], [0], ["a: b, !c"]),
        ('"!x"', ["!x"], [0], ["!x"]),
        ('".net". a', [".net", "a"], [0, 1], [".net", "a"]),
        ("\u200e !x. y", ["x", "y"], [NEGATIVE, 0], ["y"]),
        ('3.5 inch disk. 19" monitor', ["3.5 inch disk", '19" monitor'], [0, 1], None),
        ("a\nb\r\nc", ["a", "b", "c"], [0, 1, 2], ["a", "b", "c"]),
        ("🍕. ❤️", ["🍕", "❤"], [0, 1], ["🍕", "❤️"]),
        ("\u200b. cat\u200b, \ufeffdog. \u2060", ["cat", "dog"], [0, 1], ["cat", "dog"]),
        ("cat, ca\u00adt, CA\u200eT", ["cat"], [0], ["cat"]),
        ("  red   star ...  ", ["red star"], [0], ["red star"]),
        ("x: | y |", ["y"], [0], ["x"]),
        ("car. carpet", ["car", "carpet"], [0, 1], None),
    ],
)
def test_grammar(prompt, phrases, class_ids, classes):
    parsed = parse(prompt)
    assert list(parsed.phrases) == phrases
    assert class_ids is None or list(parsed.class_ids) == class_ids
    assert classes is None or list(parsed.classes) == classes
    assert len(parsed) == len(phrases)


@pytest.mark.parametrize(
    "same",
    [
        "red star. cat",
        "RED STAR, CAT.",
        "red  star;cat...",
        "\n red star\n cat",
        "Red Star。cat！"[:-1],
    ],
)
def test_case_and_punctuation_change_nothing(same):
    parsed, expected = parse(same), parse("red star. cat")
    assert parsed.phrases == expected.phrases
    assert parsed.class_ids == expected.class_ids


def test_first_spelling_is_reported():
    assert parse("Cat. CAT. cat").classes == ("Cat",)


def test_lists_and_dicts_are_literal():
    assert parse(["St. Bernard.", "a: b, c"]).classes == ("St. Bernard", "a: b, c")
    assert parse({"vehicle": ["car", "truck"], "cat": "cat"}) == Phrases(
        ("car", "truck", "cat"), (0, 0, 1), ("vehicle", "cat")
    )


def test_five_hundred_phrases():
    parsed = parse(". ".join(f"thing {n}" for n in range(500)))
    assert len(parsed) == len(parsed.classes) == 500
    assert parsed.class_ids == tuple(range(500))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "empty"),
        (" . ,;\n", "empty"),
        ("…", "empty"),
        ("!cat, !dog", "only negatives"),
        ("!", "lacks a name"),
        ("vehicle:", "lacks a phrase"),
        (": car", "lacks a name"),
        ("a: b: c", "more than one"),
        ('"never closed. cat', "never closed"),
        ("cat, pet: cat", "two classes"),
        ("cat, !Cat", "negative"),
        ([], "empty"),
        ([""], "empty"),
        ([3], "is a string"),
        ({"a": []}, "no phrase"),
        ({"": "cat"}, "empty"),
        (["cat", "\u200b"], r"phrase '\\u200b' is empty: leave it out"),
        (["\x07"], r"phrase '\\x07' is empty"),
        (["\u3164"], "is empty"),
        ({"cat": "\u2060\ufe0f"}, "is empty"),
        ("\u200b", "empty"),
        ("\u200b: car", "lacks a name"),
        ("vehicle: \u200b", "lacks a phrase"),
    ],
)
def test_errors_are_one_line(prompt, message):
    with pytest.raises(PromptError, match=message) as caught:
        parse(prompt)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["Straße", "ＣＡＴ", "Café.", "dr. pepper", "İ"])
def test_normalise_is_settled(text):
    assert normalize(normalize(text)) == normalize(text)
    assert normalize(text.lower()) == normalize(text)


@pytest.mark.parametrize(
    "text",
    ["προΐσταμαι", "ΐ", "\u1fd3", "ΰ", "\u1fe3", "ῒ", "ῗ", "ῢ", "ῧ", "ὈΔΥΣΣΕΎΣ", "ᾳ", "ﬃ", "ǰ"],
)
def test_spellings_of_one_word_are_the_same(text):
    """In any case, and with accents as characters of their own; dialytika with tonos weren't."""
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    forms += [change(form) for form in forms for change in (str.upper, str.lower, str.casefold)]
    assert {normalize(form) for form in forms} == {normalize(text)}


def unsettled(texts):
    return [text for text in texts if normalize(normalize(text)) != normalize(text)]


def test_normalise_is_settled_for_characters_that_change():
    def changes(char):
        return unicodedata.normalize("NFKD", char) != char or char.casefold() != char

    chars = [char for char in map(chr, range(0x30000)) if changes(char)]
    assert len(chars) > 15_000
    assert unsettled(chars) == []


@pytest.mark.full
def test_normalise_is_settled_for_every_code_point():
    assert unsettled(map(chr, range(sys.maxunicode + 1))) == []


def test_normalise_is_settled_for_random_strings():
    """Of letters whose case or form changes, marks, spaces, dots, and characters that hide."""
    draw = np.random.default_rng(19)
    chars = [chr(n) for n in range(0x20000)]
    folding = [c for c in chars if c.casefold() != c or unicodedata.normalize("NFKC", c) != c]
    marks = [char for char in chars if unicodedata.combining(char)]
    pools = (folding, marks, chars, list(" .…。．\u200b\u00a0\u034f\ufe0f\u200d\t\u00b4İΐΰ"))

    def pick(first, second):
        pool = pools[int(first * len(pools))]
        return pool[int(second * len(pool))]

    picks, lengths = draw.random((20_000, 8, 2)), draw.integers(1, 9, 20_000)
    texts = [
        "".join(pick(*pair) for pair in pairs[:length].tolist())
        for pairs, length in zip(picks, lengths, strict=True)
    ]
    assert unsettled(texts) == []


class CountingDict(dict):
    """Counts the entries that are gone through one by one."""

    steps = 0

    def __iter__(self):
        CountingDict.steps += len(self)
        return super().__iter__()


class CountingList(list):
    """As ``CountingDict``; searching goes through all."""

    steps = 0

    def _all(self):
        CountingList.steps += len(self)

    def __iter__(self):
        self._all()
        return super().__iter__()

    def __contains__(self, value):
        self._all()
        return super().__contains__(value)

    def index(self, *value):
        self._all()
        return super().index(*value)


def test_twenty_thousand_phrases_are_gone_through_a_few_times_only():
    """Finding a class's number once went through all classes before it."""
    count, counting = 20_000, {dict: CountingDict, list: CountingList}
    parts = {part.name: counting[part.default_factory]() for part in fields(_Builder)}
    builder = _Builder(**parts)
    for n in range(count):
        builder.add(f"thing {n}", [f"thing {n}"])
    assert len(builder.build()) == count
    assert CountingDict.steps + CountingList.steps <= 5 * count
