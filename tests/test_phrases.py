"""The prompt grammar."""

import pytest

from perception.errors import PromptError
from perception.phrases import NEGATIVE, Phrases, normalise, parse


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
        ('3.5 inch disk. 19" monitor', ["3.5 inch disk", '19" monitor'], [0, 1], None),
        ("a\nb\r\nc", ["a", "b", "c"], [0, 1, 2], ["a", "b", "c"]),
        ("🍕. ❤️", ["🍕", "❤️"], [0, 1], None),
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
    ],
)
def test_errors_are_one_line(prompt, message):
    with pytest.raises(PromptError, match=message) as caught:
        parse(prompt)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["Straße", "ＣＡＴ", "Café.", "dr. pepper", "İ"])
def test_normalise_is_settled(text):
    assert normalise(normalise(text)) == normalise(text)
    assert normalise(text.lower()) == normalise(text)
