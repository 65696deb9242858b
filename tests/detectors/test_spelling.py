from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from perception.detectors.text import spell, token_ids
from perception.errors import PromptError

from .published_tiny import bert_words, clip_tokenizer, saved


@pytest.fixture(scope="module")
def bert() -> object:
    return AutoTokenizer.from_pretrained(saved("grounding-dino"))


@pytest.mark.parametrize(
    ("phrase", "want"),
    [
        ("red car", "red car"),
        ("🍎", "red apple"),
        ("❤️ shirt", "heavy black heart shirt"),
        ("café", "café"),
        ("dr. pepper", "dr. pepper"),
        ("", ""),
    ],
)
def test_symbols_are_read_by_their_names(phrase: str, want: str) -> None:
    assert spell(phrase) == want


def test_token_ids_have_no_marks_around(bert: object) -> None:
    words = bert_words()
    (ids,) = token_ids(bert, ["red carpet"], model="m")
    assert [words[number] for number in ids] == ["red", "car", "##pet"]


@pytest.mark.parametrize("phrase", ["[sep]", "[SEP]", "[CLS] cat"])
def test_a_phrase_that_looks_like_a_mark_is_text(bert: object, phrase: str) -> None:
    with pytest.raises(PromptError, match="words that m doesn't know"):  # "[" isn't in there
        token_ids(bert, [phrase], model="m")


def test_a_phrase_that_looks_like_clips_mark_is_text() -> None:
    tokenizer = clip_tokenizer()
    (ids,) = token_ids(tokenizer, ["<|startoftext|>"], model="m")
    assert tokenizer.bos_token_id not in ids


@pytest.mark.parametrize("phrase", ["猫", "red 猫", "\u200d"])
def test_a_phrase_that_the_vocabulary_cant_tell_is_refused(bert: object, phrase: str) -> None:
    with pytest.raises(PromptError, match="name it in English"):
        token_ids(bert, ["cat", phrase], model="m")
