from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from perception.detectors.text import token_ids
from perception.detectors.tokenizers import LONGEST_WORD, WordPiece
from perception.errors import PromptError, WeightsError

LETTERS = "abcdefghijklmnopqrtuvwxyz"  # "##s" stands before them.
PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "-", "'", "!", "[", "]", "$", "猫", "ü", "U"),
    *("cat", "##s", "car", "##pet", "t", "v", "sep", *(f"##{letter}" for letter in LETTERS)),
]
TEXTS = [
    *("cat", "cats", "Carpet", "CAT", "  a\tcat\n", "t.v.", "cat-cars", "cat's", "猫cat", "cät"),
    *("cat\u200bs", "cat\ufffd", "[SEP]", "$cat!", "", " ", "dog", "cat\u00a0cat", "Ü", "cat…"),
    *("t" * LONGEST_WORD, "t" * (LONGEST_WORD + 1), "İ", "ǅ", "cat\x00s", "e\u0301", "\u3000cat"),
]


def is_old(char: str) -> bool:
    """Whether every library's Unicode knows it, and as the same."""
    old = unicodedata.ucd_3_2_0.category(char)
    return old != "Cn" and old == unicodedata.category(char)


def pieces(text: str, *, lower_case: bool = True) -> list[str]:
    return [PIECES[token] for token in WordPiece(PIECES, lower_case=lower_case).encode(text)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        ("cats", ["cat", "##s"]),
        ("Carpet", ["car", "##pet"]),
        ("T.V.", ["t", ".", "v", "."]),
        ("cat dog", ["cat", "[UNK]"]),
        ("猫cat", ["猫", "cat"]),
        ("[SEP]", ["[", "sep", "]"]),
    ],
)
def test_pieces_of_a_text(text: str, want: list[str]) -> None:
    assert pieces(text) == want


def test_case_and_accents_can_count() -> None:
    assert pieces("U") == ["[UNK]"]
    assert pieces("U", lower_case=False) == ["U"]
    assert pieces("ü", lower_case=False) == ["ü"]


@pytest.mark.parametrize("lower_case", [True, False])
def test_as_transformers_reads_it(tmp_path: Path, lower_case: bool) -> None:
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*PIECES, "[MASK]"]), "utf-8")
    theirs = transformers.BertTokenizer(vocab=str(path), do_lower_case=lower_case)
    ours = WordPiece.load(path, lower_case=lower_case)
    names = [unicodedata.name(chr(code), "") for code in range(0x20, 0x400)]
    singles = [f"cat{char}s" for char in map(chr, range(0x20, 0x3100)) if is_old(char)]
    for text in (*TEXTS, *names, *singles):
        want = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert ours.encode(text) == want, ascii(text)


def test_the_call_of_transformers() -> None:
    tokenizer = WordPiece(PIECES)
    assert token_ids(tokenizer, ["cat", "cats"], model="tiny") == [[14], [14, 15]]
    with pytest.raises(PromptError, match='"dog" has words that tiny'):
        token_ids(tokenizer, ["dog"], model="tiny")
    with pytest.raises(ValueError, match="own tokens"):
        tokenizer(["cat"], add_special_tokens=True)


def test_files_that_are_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"vocab\.txt: the vocabulary can't be read"):
        WordPiece.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_text("cat\n")
    with pytest.raises(WeightsError, match=r"vocab\.txt: a BERT vocabulary holds \[UNK\]"):
        WordPiece.load(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsError, match=r"vocab\.txt: expected a vocabulary"):
        WordPiece.load(tmp_path / "vocab.txt")
