from __future__ import annotations

import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from perception.detectors.clip_export import ODD
from perception.detectors.text import token_ids
from perception.detectors.tokenizers import BEGIN, END, WORD_END, BytePairs, _letters
from perception.errors import PromptError, WeightsError

MERGES = [("c", "a"), ("ca", "t</w>"), ("ca", "r</w>"), ("a", "t</w>"), ("'", "s</w>")]
LETTERS = _letters()
PIECES = [*LETTERS, *(letter + WORD_END for letter in LETTERS)]
PIECES += [*map("".join, MERGES), BEGIN, END]
IDS = {piece: number for number, piece in enumerate(PIECES)}

TEXTS = [
    *ODD,
    *(
        "İI",
        "ΑΣ",
        "Σ",
        "'S 'T 'RE it's 'still ''s !'s",
        "1234567890",
        "٣½Ⅷ㈱",
        "a\x1cb\x85c\u200bd",
    ),
    *("<|endoftext|>", "<|EndOfText|>!", "!<|endoftext|>!", "<|startoftext|", "<|startoftqxt|>"),
    *(
        "a'b",
        "_under_score_",
        "(a)[b]{c}",
        "a" * 300,
        "🙂" * 40,
        "e\u0301\u0302",
        "\ufb01ne",
        "가각",
    ),
]


def is_old(char: str) -> bool:
    """Whether every library's Unicode knows it, and as the same."""
    old = unicodedata.ucd_3_2_0.category(char)
    return old != "Cn" and old == unicodedata.category(char)


@cache
def names() -> list[str]:
    return [unicodedata.name(chr(code), "").capitalize() for code in range(0x20, 0x2000)]


@cache
def trained() -> Any:
    """transformers' tokenizer with two thousand merges, learned from the names of characters."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, trainers

    raw = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    published = transformers.CLIPTokenizer(vocab=IDS, merges=MERGES).backend_tokenizer
    raw.normalizer, raw.pre_tokenizer = published.normalizer, published.pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix=WORD_END, show_progress=False)
    raw.train_from_iterator([*names(), *TEXTS], trainer)
    model = json.loads(raw.to_str())["model"]
    pieces = dict.fromkeys([*PIECES[: 2 * len(LETTERS)], *model["vocab"], BEGIN, END])
    ids = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(pair) for pair in model["merges"]]
    return transformers.CLIPTokenizer(vocab=ids, merges=merges), BytePairs(ids, merges)


def pieces(text: str) -> list[str]:
    return [PIECES[token] for token in BytePairs(IDS, MERGES).encode(text)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        (" \t\n", []),
        ("cat", ["cat</w>"]),
        ("CAT  car", ["cat</w>", "car</w>"]),
        ("cats", ["ca", "t", "s</w>"]),
        ("cat's", ["cat</w>", "'s</w>"]),
        ("42", ["4</w>", "2</w>"]),
        ("at!?", ["at</w>", "!", "?</w>"]),
        ("é", ["Ã", "©</w>"]),
        (END, ["<", "|</w>", *"endoftex", "t</w>", "|", "></w>"]),
    ],
)
def test_pieces_of_a_text(text: str, want: list[str]) -> None:
    assert pieces(text) == want


def test_as_transformers_reads_it() -> None:
    theirs, ours = trained()
    singles = [f"cat{char}s" for char in map(chr, range(0x20, 0x3100)) if is_old(char)]
    texts = [*TEXTS, *names(), *singles]
    found = theirs(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ours(texts)["input_ids"] == found
    assert max(map(len, found)) > 60
    marks = [(one.bos_token_id, one.eos_token_id, one.unk_token_id) for one in (ours, theirs)]
    assert marks[0] == marks[1]


def test_the_call_of_transformers() -> None:
    tokenizer = BytePairs(IDS, MERGES)
    assert token_ids(tokenizer, ["cat", "at"], model="tiny") == [[IDS["cat</w>"]], [IDS["at</w>"]]]
    with pytest.raises(PromptError, match="has words that tiny"):
        token_ids(tokenizer, ["cat\udcff"], model="tiny")  # An argument that is no UTF-8.
    with pytest.raises(ValueError, match="own tokens"):
        tokenizer(["cat"], add_special_tokens=True)


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"vocab": IDS, "merges": MERGES}))
    assert BytePairs.load(path).encode("cats") == BytePairs(IDS, MERGES).encode("cats")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n", 'expected a vocabulary, JSON with "vocab" and "merges"'),
        (b"\xff\xfe", "expected a vocabulary"),
        (b"[1]", "expected a vocabulary"),
        (b'{"vocab": {"a": "b"}, "merges": []}', "expected a vocabulary"),
        (b'{"vocab": {}, "merges": [["a"]]}', "expected a vocabulary"),
        (b"[" * 10**5, "expected a vocabulary"),
        (b'{"vocab": {"a": 1}, "merges": []}', "holds <|startoftext|>: this one doesn't"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        BytePairs.load(path)
    assert f"vocab.json: {message}" in str(caught.value) or message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vocab\.json: the vocabulary can't be read"):
        BytePairs.load(tmp_path / "vocab.json")


def test_a_merge_that_makes_no_piece() -> None:
    with pytest.raises(WeightsError, match="holds dog"):
        BytePairs(IDS, [*MERGES, ("do", "g")])
