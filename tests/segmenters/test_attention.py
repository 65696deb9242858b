from __future__ import annotations

import pytest
import torch

from perception.segmenters.sam.blocks import FEW_TOKENS, Attention

from .tiny import add_noise


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
