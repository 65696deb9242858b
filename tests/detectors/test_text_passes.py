from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.grounding_dino.modeling_grounding_dino import (
    generate_masks_with_special_tokens_and_transfer_map,
)

from perception.detectors.text import Marks, groups, longest_phrase, pack

MARKS = Marks(begin=101, end=102, separator=1012)


def test_a_text_of_two_phrases() -> None:
    (text,) = pack([[7], [8, 9]], MARKS, limit=16)
    assert text.ids.tolist() == [101, 7, 1012, 8, 9, 1012, 102]
    assert text.positions.tolist() == [0, 0, 1, 0, 1, 2, 0]
    assert text.spans.tolist() == [[1, 2], [3, 5]]
    assert text.phrases.tolist() == [0, 1]


def test_a_token_sees_its_own_phrase_and_its_separator() -> None:
    (text,) = pack([[7], [8, 9]], MARKS, limit=16)
    want = np.zeros((7, 7), bool)
    for start, end in ((0, 1), (1, 3), (3, 6), (6, 7)):
        want[start:end, start:end] = True
    np.testing.assert_array_equal(text.attention(), want)


@pytest.mark.parametrize("tokens", [[[7]], [[7], [8, 9]], [[5, 6, 7]] * 9, [[k] for k in range(9)]])
def test_as_published_where_no_phrase_holds_a_mark(tokens: list[list[int]]) -> None:
    (text,) = pack(tokens, MARKS, limit=64)
    special = torch.tensor([101, 102, 1012, 1029])
    sees, positions = generate_masks_with_special_tokens_and_transfer_map(
        torch.from_numpy(text.ids)[None], special
    )
    np.testing.assert_array_equal(text.attention(), sees[0])
    np.testing.assert_array_equal(text.positions, positions[0])


def test_a_phrase_with_a_dot_stays_one_phrase() -> None:
    """By the punctuation alone, "dr. pepper" would be two."""
    (text,) = pack([[7, 1012, 8], [9]], MARKS, limit=16)
    assert text.spans.tolist() == [[1, 4], [5, 6]]
    assert text.positions.tolist() == [0, 0, 1, 2, 3, 0, 1, 0]
    assert text.attention()[1, 3]


def test_as_many_texts_as_it_takes_in_order() -> None:
    texts = pack([[5]] * 7, MARKS, limit=8)  # three phrases of two tokens each
    assert [text.phrases.tolist() for text in texts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert all(len(text.ids) <= 8 for text in texts)


def test_the_longest_phrase_just_fits() -> None:
    most = longest_phrase(8)
    (text,) = pack([[5] * most], MARKS, limit=8)
    assert len(text.ids) == 8
    with pytest.raises(ValueError, match="phrase 0 needs 7 tokens, a text holds 6"):
        pack([[5] * (most + 1)], MARKS, limit=8)


def test_nothing_asked_is_no_text() -> None:
    assert pack([], MARKS, limit=8) == []


def test_groups_are_greedy() -> None:
    assert list(groups([3, 3, 5, 1, 6], 6)) == [[0, 1], [2, 3], [4]]


def test_1203_phrases_each_once_and_in_order() -> None:
    numbers = np.random.default_rng(0)
    tokens = [numbers.integers(5, 99, numbers.integers(1, 9)).tolist() for _ in range(1203)]
    texts = pack(tokens, MARKS, limit=256)
    assert np.concatenate([text.phrases for text in texts]).tolist() == list(range(1203))
    assert max(len(text.ids) for text in texts) <= 256
    needed = sum(len(ids) + 1 for ids in tokens)
    assert len(texts) <= needed // (254 - 9) + 1  # no text ends before a phrase wouldn't fit
    for text in texts:
        for (start, end), phrase in zip(text.spans, text.phrases, strict=True):
            assert text.ids[start:end].tolist() == tokens[phrase]
            assert text.ids[end] == MARKS.separator


def test_equal_texts_have_equal_keys_and_others_differ() -> None:
    one, again = (pack([[7], [8]], MARKS, limit=16)[0] for _ in range(2))
    other = pack([[7, MARKS.separator, 8]], MARKS, limit=16)[0]  # the same tokens, one phrase
    assert one.key == again.key
    assert one.ids.tolist() == other.ids.tolist()
    assert one.key != other.key
