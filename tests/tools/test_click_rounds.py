"""Clicks in the loop: what they cost, and where the next one is."""

from __future__ import annotations

import pytest
import torch
from click_rounds import (
    Clicks,
    answer_loss,
    correction,
    obedience_loss,
    obeyed,
)
from torch import Tensor

from perception.segmenters.sam.prompt_encoder import IN, OUT, PAD

SIZE = 16


def square() -> Tensor:
    truth = torch.zeros(1, SIZE, SIZE)
    truth[:, 4:10, 6:14] = 1
    return truth


def logits_of(*masks: Tensor, sure: float = 8.0) -> Tensor:
    """Logits 1 x N x h x w that say these masks."""
    return sure * (2 * torch.stack(masks, dim=1) - 1)


RIGHT, NONE = square(), torch.zeros(1, SIZE, SIZE)
HALF = square() * (torch.arange(SIZE) < 10)


def clicks(*rows: tuple[float, float, int]) -> Clicks:
    """Of one image: (x, y) in cells, and a label."""
    places = torch.tensor([[row[:2] for row in rows]]) / SIZE
    return Clicks(places, torch.tensor([[row[2] for row in rows]]))


def test_right_masks_cost_nothing() -> None:
    loss, iou = answer_loss(logits_of(*[RIGHT] * 4, sure=30), torch.ones(1, 4), RIGHT)
    assert loss.item() < 0.01
    assert iou.tolist() == [[1, 1, 1, 1]]


def test_only_the_best_candidate_and_the_single_mask_learn() -> None:
    def loss(*masks: Tensor) -> float:
        logits = logits_of(*masks)
        iou = answer_loss(logits, torch.zeros(1, 4), RIGHT)[1]
        return answer_loss(logits, iou, RIGHT)[0].item()

    assert loss(RIGHT, NONE, RIGHT, NONE) == pytest.approx(loss(*[RIGHT] * 4), abs=1e-5)
    assert loss(RIGHT, NONE, NONE, NONE) > loss(RIGHT, RIGHT, NONE, NONE) + 1
    assert loss(NONE, RIGHT, NONE, NONE) > loss(RIGHT, RIGHT, NONE, NONE) + 1


def test_an_answer_that_became_worse_costs_twice() -> None:
    logits, quality = logits_of(HALF, RIGHT, RIGHT, RIGHT), torch.tensor([[0.5, 1, 1, 1]])
    plain, _ = answer_loss(logits, quality, RIGHT)
    better, _ = answer_loss(logits, quality, RIGHT, torch.tensor([0.4]))
    worse, _ = answer_loss(logits, quality, RIGHT, torch.tensor([0.6]))
    assert better.item() == pytest.approx(plain.item())
    assert worse.item() > plain.item() + 0.2


def test_obedience_is_asked_of_all_four_masks_at_all_clicks() -> None:
    told = clicks((8.5, 6.5, IN), (2.5, 2.5, OUT), (0.0, 0.0, PAD))
    right = obedience_loss(logits_of(*[RIGHT] * 4), told, RIGHT)
    assert right.item() < 0.01
    for index in range(4):
        masks = [RIGHT] * 4
        masks[index] = NONE
        one = obedience_loss(logits_of(*masks), told, RIGHT)
        assert one.item() == pytest.approx((8 + 1.5) / 8, abs=0.01)  # 1 of 4 masks, 1 of 2 clicks


def test_neighbors_of_a_click_count_where_the_truth_agrees() -> None:
    """A click on the corner of the thing: four of the nine cells are the thing's."""
    logits = torch.zeros(1, 4, SIZE, SIZE, requires_grad=True)
    obedience_loss(logits, clicks((6.5, 4.5, IN)), RIGHT).backward()
    assert logits.grad is not None
    told = logits.grad[0, 0].nonzero().tolist()
    assert told == [[4, 6], [4, 7], [5, 6], [5, 7]]
    assert (logits.grad <= 0).all()


def test_a_click_against_the_truth_speaks_for_its_own_cell() -> None:
    logits = torch.zeros(1, 4, SIZE, SIZE, requires_grad=True)
    obedience_loss(logits, clicks((8.5, 6.5, OUT)), RIGHT).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].nonzero().tolist() == [[6, 8]]


def test_obeyed_is_a_share_of_the_clicks() -> None:
    told = clicks((8.5, 6.5, IN), (2.5, 2.5, OUT), (12.5, 6.5, OUT), (0.0, 0.0, PAD))
    assert obeyed(logits_of(RIGHT)[:, 0], told).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("answer", "label"), [(HALF, IN), (torch.ones(1, SIZE, SIZE), OUT), (RIGHT, IN), (NONE, IN)]
)
def test_a_correction_is_where_the_answer_is_wrong(answer: Tensor, label: int) -> None:
    wrong = (answer != RIGHT)[0] if (answer != RIGHT).any() else RIGHT[0] > 0
    for seed in range(20):
        torch.manual_seed(seed)
        place, have = correction(logits_of(answer)[:, 0], RIGHT)
        x, y = (place[0] * SIZE).tolist()
        assert wrong[int(y), int(x)]
        assert have.tolist() == [label]


def test_most_corrections_are_in_the_middle_of_the_larger_kind_of_error() -> None:
    """A column is missed, and a larger square is in excess beside it: never in both's middle."""
    truth = torch.zeros(1, SIZE, SIZE)
    truth[:, :, 0:2] = 1
    answer = torch.zeros(1, SIZE, SIZE)
    answer[:, 3:14, 2:13] = 1
    middles = 0
    for seed in range(200):
        torch.manual_seed(seed)
        place, label = correction(logits_of(answer)[:, 0], truth)
        x, y = (place[0] * SIZE).int().tolist()
        middles += (x, y) == (7, 8) and label.tolist() == [OUT]
    assert 100 < middles < 170


def test_a_prompt_is_closed_by_a_padding_place() -> None:
    coords, labels = (
        clicks((8.0, 4.0, IN)).plus(torch.tensor([[0.5, 0.25]]), torch.tensor([OUT])).prompt(64)
    )
    assert labels.tolist() == [[IN, OUT, PAD]]
    assert coords[0, :2].tolist() == [[31.5, 15.5], [31.5, 15.5]]
