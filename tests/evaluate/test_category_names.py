"""Which category a name means, and what to ask for one."""

import pytest

from perception.errors import EvaluationError
from perception.evaluate.ground_truth import Category
from perception.evaluate.predictions import match_names, prompt_of, spoken
from perception.prompts.grammar import parse

CATEGORIES = (
    Category(1, "hot_dog", ("frank", "pup")),
    Category(2, "dog", ("pup", "hound")),
    Category(3, "car | automobile"),
    Category(4, "Hound"),
)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("hot dog", 1),
        ("Hot_Dog.", 1),
        ("frank", 1),
        ("DOG", 2),
        ("car", 3),
        ("automobile", 3),
        ("car | automobile", 3),
        ("car|wagon", 3),
        ("hound", 4),  # A name comes before a synonym.
    ],
)
def test_a_name(name, id_):
    assert match_names([name], CATEGORIES) == {name: id_}


def test_names_that_mean_nothing_or_too_much():
    with pytest.raises(EvaluationError, match=r'^"cow", "hen": no such category in the truth'):
        match_names(["dog", "cow", "hen"], CATEGORIES)
    with pytest.raises(EvaluationError, match=r'^"pup": several categories'):
        match_names(["pup"], CATEGORIES)
    with pytest.raises(EvaluationError, match="and 3 more"):
        match_names([f"cow{n}" for n in range(8)], CATEGORIES)
    assert match_names([], CATEGORIES) == {}


def test_what_to_ask():
    assert prompt_of((Category(1, "cat"), Category(2, "dog", ("hound",)))) == ["cat", "dog"]
    assert prompt_of(CATEGORIES) == {
        "hot_dog": ["hot dog"],
        "dog": ["dog"],
        "car | automobile": ["car", "automobile"],
        "Hound": ["Hound"],
    }
    # Not "pup", which two share, nor "hound", which is another's name.
    assert prompt_of(CATEGORIES, synonyms=True)["hot_dog"] == ["hot dog", "frank"]
    assert prompt_of(CATEGORIES, synonyms=True)["dog"] == ["dog"]
    assert match_names(parse(prompt_of(CATEGORIES)).classes, CATEGORIES).values()
    assert spoken("car_wheel | tyre") == "car wheel"


def test_two_categories_of_one_name():
    with pytest.raises(EvaluationError, match='two categories of the truth are called "Dog"'):
        prompt_of((Category(1, "dog"), Category(2, "Dog")))
