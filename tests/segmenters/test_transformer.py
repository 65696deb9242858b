from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import TwoWayTransformer as ReferenceTransformer
from torch import Tensor

from perception.segmenters.sam.blocks import FEW_TOKENS
from perception.segmenters.sam.cells import FactoredCells, WrittenCells
from perception.segmenters.sam.transformer import Cells, TwoWayTransformer

from .tiny import add_noise

EYE = torch.eye(16)


def transformer(depth: int = 2) -> TwoWayTransformer:
    ours = TwoWayTransformer(depth=depth, channels=16, heads=2, hidden=24)
    add_noise(ours)
    return ours


def written(cells: Cells) -> Tensor:
    """The cells themselves, P x S x C: those times the unit matrix."""
    return cells.projected(EYE, torch.zeros(16), 0)


@pytest.mark.parametrize("finer", [(EYE,), ()], ids=["factored", "written"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, FEW_TOKENS, FEW_TOKENS + 1])
def test_agrees_with_the_published_network(
    depth: int, count: int, finer: tuple[Tensor, ...]
) -> None:
    ours = transformer(depth)
    theirs = ReferenceTransformer(depth, 16, 2, 24)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    tokens = torch.randn(3, count, 16)
    cells, position = torch.randn(3, 12, 16), torch.randn(1, 12, 16)
    as_map = (x.transpose(1, 2).reshape(-1, 16, 3, 4) for x in (cells, position.expand(3, -1, -1)))
    want_tokens, want_cells = theirs(*as_map, tokens)
    have_tokens, have_cells = ours(tokens, ours.prepare(cells, position, finer), answers=count)
    assert isinstance(have_cells, FactoredCells if finer and count <= FEW_TOKENS else WrittenCells)
    assert (have_tokens - want_tokens).abs().max() <= 1e-5
    assert (written(have_cells) - want_cells).abs().max() <= 1e-5


def test_large_and_distant_values_are_as_exact() -> None:
    """Cells far from zero, whose variance is a small difference of large numbers."""
    ours = transformer()
    tokens, position = torch.randn(2, 5, 16), torch.randn(1, 12, 16)
    cells = 30 + 10 * torch.randn(1, 12, 16)
    want_tokens, want = ours(tokens, ours.prepare(cells, position), answers=5)
    have_tokens, have = ours(tokens, ours.prepare(cells, position, (EYE,)), answers=5)
    assert isinstance(have, FactoredCells)
    assert (have_tokens - want_tokens).abs().max() <= 1e-4
    assert (written(have) - written(want)).abs().max() <= 1e-4


@pytest.mark.parametrize("finer", [(EYE,), ()], ids=["factored", "written"])
def test_shared_cells_are_the_same_as_repeated_cells(finer: tuple[Tensor, ...]) -> None:
    ours = transformer()
    tokens, cells, position = torch.randn(3, 5, 16), torch.randn(1, 12, 16), torch.randn(1, 12, 16)
    want, want_cells = ours(tokens, ours.prepare(cells.repeat(3, 1, 1), position, finer), answers=5)
    have, have_cells = ours(tokens, ours.prepare(cells, position, finer), answers=5)
    assert have.shape == want.shape
    assert (have - want).abs().max() <= 1e-5
    assert (written(have_cells) - written(want_cells)).abs().max() <= 1e-5


@pytest.mark.parametrize("finer", [(EYE,), ()], ids=["factored", "written"])
def test_picked_prompts_are_those_prompts(finer: tuple[Tensor, ...]) -> None:
    ours = transformer()
    tokens, cells, position = torch.randn(3, 5, 16), torch.randn(3, 12, 16), torch.randn(1, 12, 16)
    _, all_cells = ours(tokens, ours.prepare(cells, position, finer), answers=5)
    picked = torch.tensor([2, 0, 2])
    have = written(all_cells.picked(picked))
    torch.testing.assert_close(have, written(all_cells)[picked])


@pytest.mark.parametrize("finer", [(EYE,), ()], ids=["factored", "written"])
def test_no_prompts_are_no_tokens(finer: tuple[Tensor, ...]) -> None:
    ours = transformer()
    image = ours.prepare(torch.randn(1, 12, 16), torch.zeros(1, 12, 16), finer)
    tokens, cells = ours(torch.zeros(0, 5, 16), image, answers=5)
    assert tokens.shape == (0, 5, 16)
    assert written(cells).shape == (0, 12, 16)


def test_the_first_tokens_alone_are_the_first_of_all() -> None:
    ours = transformer()
    tokens = torch.randn(3, 7, 16)
    image = ours.prepare(torch.randn(1, 12, 16), torch.randn(1, 12, 16), (EYE,))
    want, want_cells = ours(tokens, image, answers=7)
    have, have_cells = ours(tokens, image, answers=4)
    torch.testing.assert_close(have, want[:, :4])
    torch.testing.assert_close(written(have_cells), written(want_cells))
