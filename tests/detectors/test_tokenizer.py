from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.detectors.nano.onnx import BUCKETS, MAX_TOKENS, PAD, SPECIAL, Tokenizer, split_words
from perception.errors import PromptError, WeightsError

PIECES = [
    *SPECIAL,
    *("a", "b", "c", "e", "car", "carpet", "cat", "face", "cafe", "red", "dr", "pepper", "7", "-"),
    *("##a", "##b", "##s", "##es", "##pet", "##er"),
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(PIECES)


def spell(tokenizer: Tokenizer, phrase: str) -> list[str]:
    pieces = list(tokenizer.ids)
    return [pieces[token] for token in tokenizer.encode(phrase)]


@pytest.mark.parametrize(
    ("phrase", "want"),
    [
        ("cat", ["cat"]),
        ("red cat", ["red", "cat"]),
        ("  red   cat ", ["red", "cat"]),
        ("cats", ["cat", "##s"]),
        ("carpet", ["carpet"]),  # the longest, not "car" + "##pet"
        ("cars", ["car", "##s"]),
        ("carpetes", ["carpet", "##es"]),
        ("ab", ["a", "##b"]),  # inside a word "b" is not "##b"
        ("b a", ["b", "a"]),
        ("Red CAT", ["red", "cat"]),
        ("café", ["cafe"]),
        ("cafe\u0301", ["cafe"]),  # the accent as a character of its own
        ("ＣＡＴ", ["cat"]),  # full width
        ("red-cat", ["red", "-", "cat"]),
        ("🐱", ["cat", "face"]),
        ("🐱️", ["cat", "face"]),  # with a variation selector
        ("red🐱", ["red", "cat", "face"]),
        ("7", ["7"]),
    ],
)
def test_pieces(tokenizer: Tokenizer, phrase: str, want: list[str]) -> None:
    assert spell(tokenizer, phrase) == want


@pytest.mark.parametrize("phrase", ["猫", "猫犬", "xyz", "catx", "Ω", "كلب", "?!", "\U0010ffff"])
def test_what_no_piece_covers_falls_into_buckets(tokenizer: Tokenizer, phrase: str) -> None:
    pieces = spell(tokenizer, phrase)
    unknown = [piece for piece in pieces if piece in BUCKETS]
    assert len(unknown) == len(phrase.removeprefix("cat"))
    assert PAD not in pieces


def test_unknown_phrases_stay_apart_and_stay_the_same(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("猫") != tokenizer.encode("犬")
    assert spell(tokenizer, "猫") == ["[UNK0]"]  # by a checksum: the same in every process


@pytest.mark.parametrize("phrase", ["", " ", "\u200d", "\u0301"])
def test_nothing_to_read_is_one_token(tokenizer: Tokenizer, phrase: str) -> None:
    assert spell(tokenizer, phrase) == [BUCKETS[0]]


def test_no_text_spells_the_padding(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(PAD)) == 5  # [ p a d ]
    assert PAD not in spell(tokenizer, PAD)


@pytest.mark.parametrize("phrase", ["dr pepper", "cat 猫", "🐱 cars", "carpet-7"])
@pytest.mark.parametrize("change", [str.upper, str.title, lambda p: f"  {p}  ", lambda p: f"{p}\t"])
def test_case_and_spaces_change_nothing(tokenizer: Tokenizer, phrase: str, change) -> None:
    assert tokenizer.encode(change(phrase)) == tokenizer.encode(phrase)


@pytest.mark.parametrize("mark", [".", "!", "-", "。"])
def test_punctuation_leaves_the_words_before_it_alone(tokenizer: Tokenizer, mark: str) -> None:
    words = tokenizer.encode("red cats")
    assert tokenizer.encode("red cats" + mark)[: len(words)] == words


@pytest.mark.parametrize("count", [1, MAX_TOKENS - 1, MAX_TOKENS])
def test_as_many_tokens_as_fit(tokenizer: Tokenizer, count: int) -> None:
    assert len(tokenizer.encode("cat " * count)) == count


@pytest.mark.parametrize("phrase", ["cat " * (MAX_TOKENS + 1), "猫" * (MAX_TOKENS + 1), "a" * 4000])
def test_too_long_is_an_error_and_never_cut_off(tokenizer: Tokenizer, phrase: str) -> None:
    with pytest.raises(PromptError, match=r"tokens long, at most 32 fit: shorten it") as caught:
        tokenizer.encode(phrase)
    assert len(str(caught.value)) < 200
    assert phrase[:30] in str(caught.value)


def test_a_batch_is_padded(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_batch(["cat", "red cars"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [[*tokenizer.encode("cat"), 0, 0], tokenizer.encode("red cars")]
    assert (ids[1] > 0).all()


def test_an_empty_batch(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("", []),
        ("Dr. Pepper's", ["dr", ".", "pepper", "'", "s"]),
        ("snake_case", ["snake", "_", "case"]),
        ("👨‍👩‍👧", ["man", "woman", "girl"]),
        ("straße", ["strasse"]),
        ("고양이", ["고양이"]),  # taken apart for its accents, and put together again
    ],
)
def test_words(phrase: str, words: list[str]) -> None:
    assert split_words(phrase) == words


def test_a_file_gives_what_its_pieces_give(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert Tokenizer.load(path).ids == tokenizer.ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        (b"", r"begins with \[PAD\]"),
        (b"<html>not found</html>", "this is another kind of file"),
        ("\n".join(["cat", *SPECIAL]).encode(), r"begins with \[PAD\]"),
        ("\n".join([*SPECIAL, "cat", "cat"]).encode(), "each piece once"),
        (b"\xff\xfe\x00", "expected a vocabulary, a text file in UTF-8"),
    ],
)
def test_a_file_that_is_no_vocabulary(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)
