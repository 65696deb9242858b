from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import train_segmenter
from box_loss import box_loss
from safetensors.torch import save_file
from segmentation_batches import SegmentationBatch, WeakBatch
from torch import Tensor
from train_segmenter import (
    ColorMending,
    Losses,
    correction,
    deepest,
    load_start,
    mask_loss,
    step,
)

from perception.predictor.refine import ColorHistogram
from perception.segmenters.nano import NanoImageEncoder
from perception.segmenters.sam.mask_decoder import MaskDecoder
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.prompt_encoder import (
    IN,
    OUT,
    PromptEncoder,
)
from perception.segmenters.sam.transformer import TwoWayTransformer

SIDE = 64


def square(side: int = 16) -> Tensor:
    truth = torch.zeros(1, side, side)
    truth[:, 4:10, 6:14] = 1
    return truth


def logits_of(*masks: Tensor, sure: float = 8.0) -> Tensor:
    """Logits 1 x N x h x w that say these masks."""
    return sure * (2 * torch.stack(masks, dim=1) - 1)


RIGHT, NONE = square(), torch.zeros(1, 16, 16)
HALF = square() * (torch.arange(16) < 10)


def loss_of(logits: Tensor, quality: list[float]) -> tuple[float, list[float]]:
    loss, iou = mask_loss(logits, torch.tensor([quality]), RIGHT)
    return loss.item(), iou.tolist()


def test_the_right_masks_cost_nothing() -> None:
    loss, iou = loss_of(logits_of(RIGHT, RIGHT, RIGHT, RIGHT, sure=30), [1, 1, 1, 1])
    assert loss < 0.01
    assert iou == [1]


@pytest.mark.parametrize(
    ("single", "want"), [(RIGHT, 1.0), (HALF, 0.5), (NONE, 0.0), (1 - RIGHT, 0.0)]
)
def test_the_iou_is_that_of_the_single_mask(single: Tensor, want: float) -> None:
    _, iou = loss_of(logits_of(single, RIGHT, RIGHT, RIGHT), [1, 1, 1, 1])
    assert iou == [pytest.approx(want)]


def test_only_the_best_candidate_has_to_be_right() -> None:
    best, _ = loss_of(logits_of(RIGHT, NONE, RIGHT, NONE), [1, 0, 1, 0])
    same, _ = loss_of(logits_of(RIGHT, RIGHT, RIGHT, RIGHT), [1, 1, 1, 1])
    none, _ = loss_of(logits_of(RIGHT, NONE, NONE, NONE), [1, 0, 0, 0])
    assert best == pytest.approx(same)
    assert none > best + 1


@pytest.mark.parametrize("index", range(4))
def test_every_quality_learns(index: int) -> None:
    quality = [1.0, 0.5, 0.0, 1.0]
    logits = logits_of(RIGHT, HALF, NONE, RIGHT)
    right, _ = loss_of(logits, quality)
    quality[index] -= 0.5
    assert loss_of(logits, quality)[0] == pytest.approx(right + 0.25 / 4, abs=1e-5)


def test_a_small_thing_is_worth_more_for_each_pixel() -> None:
    small, large = torch.zeros(1, 16, 16), torch.zeros(1, 16, 16)
    small[:, :2, :4] = 1
    large[:, :, :8] = 1
    cost = []
    for truth in (small, large):
        logits = logits_of(*[truth] * 4).clone()
        logits[..., -1, -1] = 8.0  # one wrong pixel
        cost.append(mask_loss(logits, torch.ones(1, 4), truth)[0].item())
    assert cost[0] > 2 * cost[1]


def test_an_empty_truth_is_finite() -> None:
    loss, iou = mask_loss(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4), torch.zeros(2, 8, 8))
    assert torch.isfinite(loss)
    assert iou.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("answer", "label"), [(HALF, IN), (torch.ones(1, 16, 16), OUT), (RIGHT, IN), (NONE, IN)]
)
def test_a_correction_is_where_the_answer_is_wrong(answer: Tensor, label: int) -> None:
    wrong = (answer != RIGHT)[0] if (answer != RIGHT).any() else RIGHT[0] > 0
    for seed in range(20):
        torch.manual_seed(seed)
        place, have = correction(logits_of(answer)[:, 0], RIGHT)
        x, y = (place[0] * 16).tolist()
        assert place.shape == (1, 2)
        assert wrong[int(y), int(x)]
        assert have.tolist() == [label]
        assert (x % 1, y % 1) == (0.5, 0.5)  # a pixel's center


def test_half_of_the_corrections_are_in_the_middle_of_the_error() -> None:
    ground = torch.zeros(1, 16, 16)
    middles = 0
    for seed in range(200):
        torch.manual_seed(seed)
        place, _ = correction(logits_of(ground)[:, 0], RIGHT)
        x, y = (place[0] * 16).int().tolist()
        middles += 6 <= y <= 7 and 8 <= x <= 11  # as far from the border as it goes
    assert 90 < middles < 160


def test_the_deepest_place_counts_the_border_of_the_picture() -> None:
    mask = np.ones((9, 9), bool)
    assert deepest(mask) == 4 * 9 + 4
    mask[:2] = mask[:, :2] = False
    assert divmod(deepest(mask), 9) == (5, 5)


def test_each_prompt_is_corrected_by_its_own_truth() -> None:
    truth = torch.cat((RIGHT, 1 - RIGHT))
    _, labels = correction(logits_of(torch.cat((NONE, NONE + 1)))[:, 0], truth)
    assert labels.tolist() == [IN, OUT]


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    return Sam(
        NanoImageEncoder(widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), merge_depth=1, channels=16),
        PromptEncoder(channels=16, image_size=SIDE, embedding_size=SIDE // 8, mask_channels=8),
        MaskDecoder(
            TwoWayTransformer(depth=1, channels=16, heads=2, hidden=16),
            channels=16,
            quality_depth=2,
            quality_hidden=16,
        ),
    ).train()


def test_boxes_alone_teach(sam: Sam, batch: SegmentationBatch) -> None:
    """Of two images with masks and the same two with boxes alone; the loss of those falls too."""
    weak_of = torch.ones(2, 4, SIDE // 2, SIDE // 2)
    batch.weak = WeakBatch(batch.images[:2], batch.coords[:2], weak_of)
    optimizer = torch.optim.AdamW(sam.parameters(), lr=0.005)
    weak = []
    for _ in range(40):
        loss, figures = step(sam, batch, torch.device("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weak.append(figures["weak"])
    assert weak[-1] < 0.8 * weak[0]


def test_a_deeper_network_begins_as_the_shallower_one(tmp_path: Path) -> None:
    sizes = {"widths": (4, 8, 8, 16, 16), "channels": 16}
    torch.manual_seed(0)
    shallow = NanoImageEncoder(depths=(1, 1, 1, 1), merge_depth=1, **sizes).eval()
    deep = NanoImageEncoder(depths=(1, 3, 2, 1), merge_depth=2, **sizes).eval()
    save_file(shallow.state_dict(), tmp_path / "start.safetensors")
    load_start(deep, tmp_path / "start.safetensors")
    pixels = torch.randn(1, 3, SIDE, SIDE)
    assert torch.equal(deep(pixels), shallow(pixels))
    save_file(deep.state_dict(), tmp_path / "deep.safetensors")
    with pytest.raises(SystemExit, match="has weights that the network has not"):
        load_start(shallow, tmp_path / "deep.safetensors")


def test_masks_without_their_photographs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_segmenter.py", "--masked", str(tmp_path / "m.json")])
    with pytest.raises(SystemExit):
        train_segmenter.main()
    assert "--masked needs --data" in capsys.readouterr().err


def test_a_tiny_segmenter_learns_a_batch(sam: Sam, batch: SegmentationBatch) -> None:
    optimizer = torch.optim.AdamW(sam.parameters(), lr=0.005)
    losses = []
    for _ in range(30):
        loss, figures = step(sam, batch, torch.device("cpu"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert set(figures) == {"box", "point", "click"}
    assert all(0 <= value <= 1 for value in figures.values())
    assert losses[-1] < 0.6 * losses[0]


def test_colors_are_asked_of_some_answers_and_are_constants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "rand", lambda count: torch.linspace(0, 1, count))
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8))
    images[:, 8:20, 12:28] //= 8
    colors = ColorMending(images)
    logits = 2 * logits_of(square(), HALF, RIGHT, NONE, sure=1).repeat(4, 1, 1, 1)
    logits.requires_grad_(True)
    mended = colors.mend(logits)
    plain = logits.detach()
    assert colors.asked.tolist() == [True, True, False, False]
    assert torch.equal(mended[2:], plain[2:])
    small = cv2.resize(images[1].numpy(), (16, 16), interpolation=cv2.INTER_AREA)
    for k in range(3):
        want = ColorHistogram(small).agreeing(plain[1, k].numpy())
        np.testing.assert_allclose(mended[1, k].detach(), want, atol=1e-5)
        assert not torch.equal(mended[1, k], plain[1, k])
    later = colors.mend(logits[1:], first=1)  # the answers of the images from that one on
    assert torch.equal(later, mended[1:])
    mended.sum().backward()
    assert torch.equal(logits.grad, torch.ones_like(plain))


def test_every_loss_is_of_answers_with_their_colors(
    sam: Sam, batch: SegmentationBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer's colors are asked, then all: of boxes and points, of clicks, of boxes alone."""
    weak_of = torch.ones(2, 4, SIDE // 2, SIDE // 2)
    batch.weak = WeakBatch(batch.images[:2], batch.coords[:2], weak_of)
    seen: dict[float, list[Tensor]] = {}
    for share in (0.0, 1.0):
        answers = seen.setdefault(share, [])

        def mask(logits: Tensor, quality: Tensor, truth: Tensor, to=answers) -> Any:
            to.append(logits.detach())
            return mask_loss(logits, quality, truth)

        def box(logits: Tensor, boxes: Tensor, alike: Tensor, to=answers) -> Tensor:
            to.append(logits.detach())
            return box_loss(logits, boxes, alike)

        monkeypatch.setattr(train_segmenter, "COLOR_SHARE", share)
        monkeypatch.setattr(ColorHistogram, "agreeing", lambda _, logits: logits + 5)
        torch.manual_seed(1)
        step(sam.eval(), batch, torch.device("cpu"), Losses(mask, box))
    assert len(seen[0.0]) == len(seen[1.0]) == 3
    for without, with_colors in zip(seen[0.0], seen[1.0], strict=True):
        assert (with_colors - without).mean().item() == pytest.approx(5, abs=0.5)
