"""WordNet's nouns, read from files in its format, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_names import RIDGE, fit_colors, mixture, own_row
from measure_photo_words import draw_kinds
from wordnet import Nouns, read_nouns

from perception.detectors.nano.names import COLORS, features

# offset, lexical file, n, words with ids (in hexadecimal counts), pointers, gloss
DATA = """\
  1 This software and database is being provided to you
00000010 03 n 01 animal 0 001 ~ 00000020 n 0000 | a living thing
00000020 05 n 02 dog 0 domestic_dog 0 003 @ 00000010 n 0000 ~ 00000030 n 0000 ~i 00000050 n 0000
00000030 05 n 01 puppy 0 002 @ 00000020 n 0000 + 00000099 v 0101 | a young dog
00000040 18 n 01 puppy 1 000 | an inexperienced young person
00000050 05 n 01 Rex 0 001 @i 00000020 n 0000 | one dog
"""
INDEX = """\
  1 This software and database is being provided to you
animal n 1 1 ~ 1 1 00000010
dog n 1 2 @ ~ 1 1 00000020
domestic_dog n 1 2 @ ~ 1 0 00000020
puppy n 2 1 @ 2 1 00000030 00000040
rex n 1 1 @i 1 0 00000050
"""


@pytest.fixture
def nouns(tmp_path: Path) -> Nouns:
    (tmp_path / "data.noun").write_text(DATA, encoding="utf-8")
    (tmp_path / "index.noun").write_text(INDEX, encoding="utf-8")
    return read_nouns(tmp_path)


def test_synsets_and_senses(nouns: Nouns) -> None:
    assert nouns.synsets[20].words == ("dog", "domestic dog")
    assert nouns.senses["puppy"] == (30, 40)
    assert nouns.named("dog.n.01") == 20
    assert nouns.named("puppy.n.02") == 40
    assert nouns.used == {"animal": 1, "dog": 1, "domestic dog": 0, "puppy": 1, "rex": 0}


def test_kinds_and_what_is_above(nouns: Nouns) -> None:
    assert list(nouns.kinds(10)) == [20, 30]  # not Rex, who is one dog and no kind
    assert nouns.above(30) == [20, 10]
    assert nouns.lemmas[30] == ["puppy"]
    assert 40 not in nouns.lemmas  # not the first sense of anything


def test_words_are_drawn_that_someone_has_used(nouns: Nouns) -> None:
    assert draw_kinds(nouns, {"dog": "dog.n.01"}, {"dog"}) == {"puppy": "dog"}
    assert draw_kinds(nouns, {"dog": "unicorn.n.01"}, {"dog"}) == {}


def test_a_folder_without_wordnet(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"apt install wordnet-base") as caught:
        read_nouns(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


def test_a_mixture_is_the_ridge_in_clips_space() -> None:
    rng = np.random.default_rng(0)
    classes, name = rng.normal(size=(5, 16)), rng.normal(size=16)
    weights = mixture(classes @ name, classes @ classes.T)
    gradient = classes @ (classes.T @ weights - name) + RIDGE * weights
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_a_known_class_takes_nothing_but_its_logit() -> None:
    row = own_row(7)
    assert np.flatnonzero(row).tolist() == [7, len(row) - 1]
    assert row[7] == 1


def test_the_colors_are_told_apart() -> None:
    weights = fit_colors()
    rgb = {
        "red": (210, 20, 30),
        "blue": (30, 60, 190),
        "white": (250, 250, 250),
        "gray": (128,) * 3,
    }
    for name, pixel in rgb.items():
        logits = features(np.array([pixel], np.float32)) @ weights
        assert COLORS[int(logits.argmax())] == name
