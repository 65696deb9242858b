from __future__ import annotations

import pytest
import torch
from box_loss import box_loss, box_masks, likeness
from torch import Tensor

BOX = torch.tensor([[4.0, 6.0, 12.0, 14.0]])
ALIKE, UNLIKE = torch.ones(1, 4, 16, 16), torch.zeros(1, 4, 16, 16)


def answer(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    logits = torch.full((1, 1, 16, 16), -12.0)
    logits[..., y0:y1, x0:x1] = 12.0
    return logits


def loss(logits: Tensor, alike: Tensor = UNLIKE) -> float:
    return float(box_loss(logits, BOX, alike))


def test_a_box_as_a_mask() -> None:
    mask = box_masks(BOX, (16, 16))
    assert mask.sum() == 64
    assert mask[0, 6:14, 4:12].all()


def test_a_mask_that_touches_all_edges_costs_nothing() -> None:
    assert loss(answer(4, 6, 12, 14)) == pytest.approx(0, abs=1e-3)
    cross = torch.maximum(answer(7, 6, 9, 14), answer(4, 9, 12, 11))
    assert loss(cross) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("place", [(4, 6, 9, 14), (4, 6, 12, 10), (2, 6, 12, 14), (4, 6, 12, 16)])
def test_too_small_and_too_large_cost(place: tuple[int, int, int, int]) -> None:
    assert loss(answer(*place)) > 0.05


def test_neighbours_of_one_color_belong_together() -> None:
    """A border through one color costs; a border between two colors doesn't."""
    whole, half = answer(4, 6, 12, 14), answer(4, 6, 8, 14)
    assert loss(half, ALIKE) - loss(half) > 0.5
    assert loss(whole, ALIKE) - loss(whole) > 0.5  # its own border, all of it on the outside
    colors = torch.zeros(1, 3, 16, 16)
    colors[..., 6:14, 4:8] = 60  # the half, and nothing else
    edges = likeness(colors)
    assert loss(half, edges) - loss(half) < 0.01
    assert loss(whole, edges) - loss(whole) > 0.2


def test_each_mask_has_its_own_loss() -> None:
    good, bad = answer(4, 6, 12, 14), answer(4, 6, 8, 14)
    both = box_loss(torch.cat((good, bad), dim=1), BOX, UNLIKE)
    assert both.shape == (1, 2)
    assert both[0, 0] < both[0, 1]


def test_likeness_is_of_neighbours() -> None:
    picture = torch.zeros(1, 3, 16, 16)
    picture[..., 8:] = 50  # another color on the right
    right, below, down_right, down_left = likeness(picture)[0]
    assert below.all()
    assert (right[:, :6] == 1).all()
    assert (right[:, 6:8] == 0).all()
    assert (right[:, 8:] == 1).all()
    assert (down_right[:-2, 6:8] == 0).all()
    assert (down_left[:-2, 8:10] == 0).all()


def test_of_all_masks_that_fill_the_box_the_one_of_a_color_costs_least() -> None:
    """A cross that touches all edges of the box, in a color of its own."""
    cross = torch.maximum(answer(4, 9, 12, 11), answer(7, 6, 9, 14))
    edges = likeness(60.0 * (cross > 0).expand(-1, 3, -1, -1))
    others = [answer(4, 6, 12, 14), torch.maximum(cross, answer(4, 6, 8, 10)), answer(4, 9, 12, 11)]
    assert loss(cross, edges) < 0.01
    assert all(loss(other, edges) > loss(cross, edges) + 0.1 for other in others)
