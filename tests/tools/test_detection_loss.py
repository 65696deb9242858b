from __future__ import annotations

import pytest
import torch
from detection_loss import area, assign, detection_loss, giou, naming_loss, pair_iou

UNIT = [0.0, 0, 1, 1]
BOXES = [UNIT, [0, 0, 2, 2], [1, 1, 2, 2], [5, 5, 7, 6], [0, 0, 1, 0.5]]


@pytest.mark.parametrize(
    ("a", "b", "want"),
    [
        (UNIT, UNIT, 1.0),
        (UNIT, [0, 0, 2, 2], 0.25),  # inside: the hull is the union
        (UNIT, [0, 0, 1, 0.5], 0.5),
        (UNIT, [1, 0, 2, 1], 0.0),  # side by side, no gap
        (UNIT, [1, 1, 2, 2], -0.5),  # corner to corner: half of the hull is empty
        (UNIT, [3, 0, 4, 1], -0.5),
        (UNIT, [9, 0, 10, 1], -0.8),
    ],
)
def test_giou(a: list[float], b: list[float], want: float) -> None:
    value = giou(torch.tensor([a, b]), torch.tensor([b, a]))
    torch.testing.assert_close(value, torch.tensor([want, want]), atol=1e-5, rtol=0)


def test_giou_of_nothing() -> None:
    assert giou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_pair_iou() -> None:
    a, b = torch.tensor([BOXES[:2]]), torch.tensor([BOXES])
    want = [[[1, 0.25, 0, 0, 0.5], [0.25, 1, 0.25, 0, 0.125]]]
    torch.testing.assert_close(pair_iou(a, b), torch.tensor(want), atol=1e-6, rtol=0)
    assert pair_iou(a[:, :0], b).shape == (1, 0, 5)


def test_a_place_without_a_thing_overlaps_nothing() -> None:
    assert pair_iou(torch.zeros(1, 2, 4), torch.tensor([BOXES])).sum() == 0


def test_area() -> None:
    assert area(torch.tensor(BOXES)).tolist() == [1, 4, 1, 2, 0.5]


@pytest.mark.parametrize(
    ("logits", "truth", "want"),
    [
        ([[5.0, -5]], [[True, False]], 4.54e-5),
        ([[0.0, 0]], [[True, False]], 0.6931),
        ([[-5.0, 5]], [[True, False]], 10.0),
        ([[0.0, 0, 0]], [[True, False, False]], 1.0986),  # log 3
        ([[0.0, 0, 0]], [[True, True, False]], 0.6931),  # true phrases are no rivals
        ([[9.0, 9]], [[True, True]], 0.0),
        ([[9.0, 9]], [[False, False]], 0.0),
    ],
)
def test_naming_loss(logits: list[list[float]], truth: list[list[bool]], want: float) -> None:
    value = naming_loss(torch.tensor(logits), torch.tensor(truth))
    torch.testing.assert_close(value, torch.tensor([want]), atol=1e-4, rtol=0)


def test_a_phrase_that_nobody_labelled_is_no_rival() -> None:
    logits, truth = torch.tensor([[0.0, 0, 9]]), torch.tensor([[True, False, False]])
    value = naming_loss(logits, truth, torch.tensor([[1.0, 1, 0.2]]))
    torch.testing.assert_close(value, torch.tensor([0.6931]), atol=1e-4, rtol=0)


def test_naming_loss_of_no_regions() -> None:
    assert naming_loss(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0,)


CENTRES = torch.tensor([[5.0, 5], [15, 5], [25, 5], [35, 5]])
THINGS = torch.tensor([[[0.0, 0, 20, 10], [20, 0, 40, 10], [0, 0, 0, 0]]])
TRUTH = torch.tensor([[[True, False], [False, True], [False, False]]])
RIGHT = torch.tensor([[[0.0, 0, 20, 10], [0, 0, 18, 10], [20, 0, 40, 10], [0, 0, 1, 1]]])


def test_each_thing_claims_the_regions_in_it_that_fit() -> None:
    logits = torch.zeros(1, 4, 2)
    owner, weight = assign(RIGHT, logits, THINGS, TRUTH, CENTRES)
    assert owner.tolist() == [[0, 0, 1, -1]]  # the last one's box fits nothing
    # The best region of a thing gets its overlap, the others less, by how much worse they fit.
    torch.testing.assert_close(weight, torch.tensor([[1, 0.9**5, 1, 0]]), atol=1e-5, rtol=0)


def test_no_region_outside_a_thing_is_claimed() -> None:
    boxes = THINGS[:, :1].expand(1, 4, 4)  # all have the box of the first thing
    owner, weight = assign(boxes, torch.zeros(1, 4, 2), THINGS, TRUTH, CENTRES)
    assert owner.tolist() == [[0, 0, -1, -1]]
    assert (weight > 0).tolist() == [[True, True, False, False]]


def test_of_two_claims_the_better_fitting_box_wins() -> None:
    things = torch.tensor([[[0.0, 0, 20, 10], [0, 0, 40, 10]]])
    boxes = torch.tensor([[[0.0, 0, 20, 10], [0, 0, 36, 10], [0, 0, 40, 10], [0, 0, 38, 10]]])
    truth = torch.tensor([[[True, False], [False, True]]])
    owner, _ = assign(boxes, torch.zeros(1, 4, 2), things, truth, CENTRES)
    assert owner.tolist() == [[0, 1, 1, 1]]


def test_the_likelier_phrase_chooses_between_equal_boxes() -> None:
    boxes = RIGHT[:, :1].expand(1, 4, 4)
    logits = torch.tensor([[[-4.0, 0], [4, 0], [0, 0], [0, 0]]])
    _, weight = assign(boxes, logits, THINGS, TRUTH, CENTRES)
    assert weight[0, 1] > weight[0, 0] > 0


def test_a_thing_claims_no_more_than_its_share() -> None:
    centers = torch.stack((torch.linspace(1, 19, 40), torch.full((40,), 5.0)), dim=1)
    boxes = torch.tensor([[[0.0, 0, 20 - 0.1 * k, 10] for k in range(40)]])
    owner, weight = assign(boxes, torch.zeros(1, 40, 2), THINGS, TRUTH, centers)
    assert (owner[0] == 0).tolist() == [k < 10 for k in range(40)]
    assert weight[0].argmax() == 0


@pytest.mark.parametrize("pictures", [1, 3])
def test_an_empty_scene_claims_nothing(pictures: int) -> None:
    boxes = RIGHT.expand(pictures, 4, 4)
    nothing = torch.zeros(pictures, 3, 4)
    truth = torch.zeros(pictures, 3, 2, dtype=torch.bool)
    owner, weight = assign(boxes, torch.zeros(pictures, 4, 2), nothing, truth, CENTRES)
    assert (owner == -1).all()
    assert (weight == 0).all()
    loss, parts = detection_loss(boxes, torch.zeros(pictures, 4, 2), nothing, truth, CENTRES)
    assert torch.isfinite(loss)
    assert parts["boxes"] == parts["names"] == 0


def loss_of(boxes: torch.Tensor, logits: list[list[float]]) -> float:
    loss, _ = detection_loss(boxes, torch.tensor([logits]), THINGS, TRUTH, CENTRES)
    return loss.item()


NAMED = [[6.0, -6], [6, -6], [-6, 6], [-6, -6]]
SWAPPED = [[-6.0, 6], [-6, 6], [6, -6], [-6, -6]]
SILENT = [[-6.0, -6]] * 4
LOUD = [[6.0, 6]] * 4


@pytest.mark.parametrize("wrong", [SWAPPED, SILENT, LOUD], ids=["swapped", "silent", "loud"])
def test_the_right_names_cost_less(wrong: list[list[float]]) -> None:
    assert loss_of(RIGHT, NAMED) < loss_of(RIGHT, wrong) - 0.5


@pytest.mark.parametrize("move", [2.0, 5.0])
def test_the_right_boxes_cost_less(move: float) -> None:
    assert loss_of(RIGHT, NAMED) < loss_of(RIGHT + move, NAMED)


def test_the_gradient_leads_to_the_right_answer() -> None:
    boxes = (RIGHT + torch.tensor([1.0, 1, -2, 2])).requires_grad_()
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    first = None
    for _ in range(200):
        loss, parts = detection_loss(boxes, logits, THINGS, TRUTH, CENTRES)
        first = loss.item() if first is None else first
        for value, rate in zip((boxes, logits), (0.5, 0.5), strict=True):
            (gradient,) = torch.autograd.grad(loss, value, retain_graph=True)
            value.data -= rate * gradient
    assert set(parts) == {"words", "names", "boxes"}
    assert loss.item() < 0.5 * first
    assert (logits[0, [0, 2]] > 0).tolist() == [[True, False], [False, True]]
    assert (boxes[0, 0] - RIGHT[0, 0]).abs().max() < 1


def test_a_phrase_weighs_as_much_as_is_known_of_it() -> None:
    """A wrong answer to a phrase that nobody labelled costs less, to one without weight nothing."""
    logits = torch.full((1, 4, 3), -9.0)
    logits[..., 2] = 3.0  # a third phrase, true of nothing
    truth = torch.cat((TRUTH, torch.zeros(1, 3, 1, dtype=torch.bool)), dim=2)
    costs = []
    for weight in (1.0, 0.2, 0.0):
        known = torch.tensor([[1.0, 1.0, weight]])
        _, parts = detection_loss(RIGHT, logits, THINGS, truth, CENTRES, known)
        costs.append(parts["words"])
    assert costs[0] > costs[1] > costs[2]
    assert costs[1] - costs[2] == pytest.approx(0.2 * (costs[0] - costs[2]), rel=1e-4)


def test_words_cost_their_cross_entropy_in_half_precision_too() -> None:
    """Summed as they are, two hundred thousand small costs in half precision lose a third."""
    torch.manual_seed(0)
    boxes = RIGHT.repeat(1, 500, 1)
    logits = torch.randn(1, 2000, 120) - 4
    truth = torch.zeros(1, 3, 120, dtype=torch.bool)
    truth[0, 0, :2] = truth[0, 1, 7] = True
    known = torch.rand(1, 120)
    centers = CENTRES.repeat(500, 1)
    for kind, error in ((torch.float32, 1e-4), (torch.bfloat16, 0.01)):
        given = logits.to(kind)
        owner, weight = assign(boxes, given, THINGS, truth, centers)
        target = truth[0, owner[0].clamp(min=0)] * weight[0, :, None]
        want = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[0], target, known, reduction="sum"
        )
        _, parts = detection_loss(boxes, given, THINGS, truth, centers, known)
        assert parts["words"] == pytest.approx(want.item() / weight.sum().item(), rel=error)
