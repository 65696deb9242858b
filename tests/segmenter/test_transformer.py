from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import TwoWayTransformer as ReferenceTransformer

from perception.segmenter.transformer import FEW_TOKENS, Attention, TwoWayTransformer

from .tiny import add_noise


def transformer() -> TwoWayTransformer:
    ours = TwoWayTransformer(depth=2, channels=16, heads=2, hidden=24)
    add_noise(ours)
    return ours


def test_agrees_with_the_published_network() -> None:
    ours = transformer()
    theirs = ReferenceTransformer(2, 16, 2, 24)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    tokens, cells, position = torch.randn(3, 5, 16), torch.randn(3, 12, 16), torch.randn(1, 12, 16)
    as_map = (x.transpose(1, 2).reshape(-1, 16, 3, 4) for x in (cells, position.expand(3, -1, -1)))
    want_tokens, want_cells = theirs(*as_map, tokens)
    have_tokens, have_cells = ours(tokens, ours.prepare(cells, position), answers=5)
    assert (have_tokens - want_tokens).abs().max() <= 1e-5
    assert (have_cells - want_cells).abs().max() <= 1e-5


def test_shared_cells_are_the_same_as_repeated_cells() -> None:
    ours = transformer()
    tokens, cells, position = torch.randn(3, 5, 16), torch.randn(1, 12, 16), torch.randn(1, 12, 16)
    want = ours(tokens, ours.prepare(cells.repeat(3, 1, 1), position), answers=5)
    shared = ours.prepare(cells, position)
    for have, repeated in zip(ours(tokens, shared, answers=5), want, strict=True):
        assert have.shape == repeated.shape
        assert (have - repeated).abs().max() <= 1e-5


def test_no_prompts_are_no_tokens() -> None:
    ours = transformer()
    image = ours.prepare(torch.randn(1, 12, 16), torch.zeros(1, 12, 16))
    tokens, cells = ours(torch.zeros(0, 5, 16), image, answers=5)
    assert tokens.shape == (0, 5, 16)
    assert cells.shape == (0, 12, 16)


def test_the_first_tokens_alone_are_the_first_of_all() -> None:
    ours = transformer()
    tokens = torch.randn(3, 7, 16)
    image = ours.prepare(torch.randn(1, 12, 16), torch.randn(1, 12, 16))
    want, want_cells = ours(tokens, image, answers=7)
    have, have_cells = ours(tokens, image, answers=4)
    torch.testing.assert_close(have, want[:, :4])
    torch.testing.assert_close(have_cells, want_cells)


@pytest.mark.parametrize("count", [5, FEW_TOKENS, FEW_TOKENS + 1])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("cell_rows", [1, None])
def test_looking_in_the_cheap_order_gives_the_numbers_of_the_plain_order(
    rows: int, cell_rows: int | None, count: int
) -> None:
    attention = Attention(16, heads=4, inner=8)
    add_noise(attention)
    tokens, token_values = torch.randn(2, rows, count, 16)
    cells, values = torch.randn(2, cell_rows or rows, 12, 16)
    whole_cells, whole_values = cells.expand(rows, -1, -1), values.expand(rows, -1, -1)
    to_cells = attention.tokens_to_cells(tokens, cells, values)
    to_tokens = attention.cells_to_tokens(cells, tokens, token_values)
    torch.testing.assert_close(
        to_cells, attention(tokens, whole_cells, whole_values), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        to_tokens, attention(whole_cells, tokens, token_values), rtol=0, atol=1e-5
    )
