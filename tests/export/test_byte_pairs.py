from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from transformers import AutoTokenizer

from perception.detectors.clip_export import byte_pairs_content
from perception.detectors.tokenizers import BytePairs
from perception.errors import ExportError
from tests.detectors import published_tiny


def test_there_and_back(tmp_path: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(published_tiny.saved("owlv2"))
    path = tmp_path / "vocab.json"
    path.write_bytes(byte_pairs_content(theirs))
    ours = BytePairs.load(path)
    assert ours.ids == theirs.get_vocab()
    assert ours.encode("red car") == theirs("red car", add_special_tokens=False).input_ids


def test_the_tokenizer_of_another_family() -> None:
    with pytest.raises(ExportError, match="it isn't CLIP's, with byte pairs"):
        byte_pairs_content(AutoTokenizer.from_pretrained(published_tiny.saved("grounding-dino")))
    with pytest.raises(ExportError, match="it isn't CLIP's"):
        byte_pairs_content(object())


def test_a_tokenizer_that_reads_otherwise() -> None:
    from tokenizers import normalizers

    theirs = published_tiny.clip_tokenizer()
    theirs.backend_tokenizer.normalizer = normalizers.NFC()  # Case would count.
    with pytest.raises(ExportError, match="it isn't CLIP's, by how it reads"):
        byte_pairs_content(theirs)


def test_a_vocabulary_with_gaps() -> None:
    from transformers import CLIPTokenizer

    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    with pytest.raises(ExportError, match="a CLIP vocabulary holds"):
        byte_pairs_content(CLIPTokenizer(vocab=vocabulary, merges=[]))
