from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.detectors.nano.network import TextEncoder
from perception.detectors.nano.onnx import MAX_TOKENS

from .tiny import WIDTH, build_text

PHRASES = ([3], [5, 6], [7, 8, 9, 10], [2] * MAX_TOKENS)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return build_text(vocabulary=12)


def padded(*phrases: list[int], length: int | None = None) -> Tensor:
    length = length or max(map(len, phrases))
    return torch.tensor([[*phrase, *[0] * (length - len(phrase))] for phrase in phrases])


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("length", [1, MAX_TOKENS])
def test_shape(text: TextEncoder, count: int, length: int) -> None:
    ids = torch.ones(count, length, dtype=torch.int64)
    assert text(ids).shape == (count, length, WIDTH)


@pytest.mark.parametrize("phrase", PHRASES, ids=len)
def test_padding_changes_nothing(text: TextEncoder, phrase: list[int]) -> None:
    alone = text(padded(phrase))
    beside = text(padded(phrase, length=MAX_TOKENS))[:, : len(phrase)]
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-6)


def test_a_phrase_does_not_see_the_others(text: TextEncoder) -> None:
    together = text(padded(*PHRASES))
    for phrase, tokens in zip(PHRASES, together, strict=True):
        alone = text(padded(phrase))[0]
        torch.testing.assert_close(tokens[: len(phrase)], alone, rtol=0, atol=1e-6)


def test_a_token_sees_its_phrase(text: TextEncoder) -> None:
    first, other = text(padded([5, 6])), text(padded([5, 7]))
    assert (first[0, 0] - other[0, 0]).abs().max() > 1e-3


def test_order_counts(text: TextEncoder) -> None:
    forth, back = text(padded([5, 6])), text(padded([6, 5]))
    assert (forth.mean(1) - back.mean(1)).abs().max() > 1e-4


def test_padding_next_to_real_tokens_is_finite(text: TextEncoder) -> None:
    assert torch.isfinite(text(padded([3], length=MAX_TOKENS))).all()
