from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import make_vocabulary
import pytest
from make_vocabulary import learn_pieces
from scenes.glyphs import load_concepts
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.unicode_names import character_names

from perception.detectors.nano.onnx import SPECIAL, Tokenizer, split_words

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "nano-detector-vocab.txt"


@pytest.mark.parametrize(
    ("words", "count", "want"),
    [
        ({"ab": 2}, 9, ["ab"]),
        ({"abc": 3, "bc": 1}, 9, ["##bc", "abc"]),  # "b" at a beginning is another piece
        ({"cat": 2, "hat": 3}, 1, ["##at"]),
        ({"cat": 2, "hat": 3}, 9, ["##at", "hat", "cat"]),
        ({"aaaa": 2}, 9, ["##aa", "##aaa", "aaaa"]),
        ({"ab": 5, "cd": 5}, 1, ["ab"]),  # of equals the alphabet's first
        ({"ab": 1}, 9, []),  # once is no pattern
        ({"a": 9}, 9, []),
        ({}, 9, []),
        ({"ab": 9}, 0, []),
    ],
)
def test_learn_pieces(words: dict[str, int], count: int, want: list[str]) -> None:
    assert learn_pieces(Counter(words), count) == want


@pytest.fixture(scope="module")
def small() -> list[str]:
    """A vocabulary from the scenes' words and some of the names, which is quicker."""
    names = dict(list(character_names().items())[::8])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_vocabulary, "character_names", lambda: names)
        return make_vocabulary.make_vocabulary(700)


def test_a_vocabulary_is_one_for_the_tokenizer(small: list[str]) -> None:
    assert tuple(small[: len(SPECIAL)]) == SPECIAL
    assert len(small) == len(set(small)) == 700
    tokenizer = Tokenizer(small)
    unknown = {tokenizer.ids[piece] for piece in SPECIAL}
    for phrase in ("zebra", "xylophone", "qwertyuiop", "dr. pepper's 7-up"):
        assert not unknown & set(tokenizer.encode(phrase)), phrase


def test_the_words_of_the_scenes_are_whole(small: list[str]) -> None:
    tokenizer = Tokenizer(small)
    for phrase in (*load_concepts(), *NOUNS, *COLORS, *PATTERNS, *SIZES):
        assert len(tokenizer.encode(phrase)) == len(split_words(phrase)), phrase


def test_the_shipped_vocabulary_knows_the_scenes_words() -> None:
    tokenizer = Tokenizer.load(SHIPPED)
    for phrase in (*load_concepts(), *NOUNS, *COLORS, *PATTERNS, *SIZES):
        assert len(tokenizer.encode(phrase)) == len(split_words(phrase)), phrase


def test_writes_a_file(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    path = tmp_path / "vocab.txt"
    monkeypatch.setattr(make_vocabulary, "make_vocabulary", lambda size: small[:size])
    monkeypatch.setattr(sys, "argv", ["make_vocabulary.py", str(path), "--size", "650"])
    make_vocabulary.main()
    assert list(Tokenizer.load(path).ids) == small[:650]
    assert "650 pieces" in capsys.readouterr().out
