"""What a prompt's masks cost in training, and how clicks in the loop correct them.

The next click comes from the error of the answer before, which is fed back, as RITM (Sofiiuk et al.
2021) and EdgeSAM (Zhou et al. 2023) do. Beside the mask, obedience is taught: the pixel of every
click of the prompt and its close neighborhood are on the side that the click says, in all four
masks; and an answer that is worse than the one before it costs twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from clicks import deepest
from torch import Tensor

from perception.segmenters.sam.prompt_encoder import IN, OUT, PAD

OBEDIENCE = 0.3  # weight of the clicks' pixels beside the mask
MARGIN = 1.5  # of their logits
NEAR = 1  # cells around a click that it speaks for, where the truth agrees
WORSE = 0.02  # of IoU: an answer that lost more than this has become worse


@dataclass(frozen=True)
class Clicks:
    """K clicks on each of P images: places P x K x 2 in 0..1, labels P x K (``PAD``: none)."""

    places: Tensor
    labels: Tensor

    def plus(self, places: Tensor, labels: Tensor) -> Clicks:
        """With one more each: P x 2, P."""
        return Clicks(
            torch.cat((self.places, places[:, None]), dim=1),
            torch.cat((self.labels, labels[:, None]), dim=1),
        )

    def prompt(self, side: int) -> tuple[Tensor, Tensor]:
        """Coords P x (K + 1) x 2 in pixels of the input, and labels; closed by a padding place."""
        coords = F.pad(self.places * side - 0.5, (0, 0, 0, 1))
        return coords, F.pad(self.labels, (0, 1), value=PAD)


def each_mask_loss(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """What each mask costs and its IoU, P x 4, of logits P x 4 x h x w; truth: P x h x w in 0..1.

    Cross entropy, by a thing's size within limits since the errors of a small one are few pixels of
    the image, and Dice.
    """
    target = truth[:, None].expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    cross = cross * (0.1 / truth.mean((1, 2))[:, None]).clamp(1, 8)
    chance = logits.sigmoid()
    both, either = (chance * target).sum((2, 3)), (chance + target).sum((2, 3))
    with torch.no_grad():
        seen, true = logits > 0, target > 0.5
        iou = (seen & true).sum((2, 3)) / (seen | true).sum((2, 3)).clamp(min=1)
    return 3 * cross + 1 - (2 * both + 1) / (either + 1), iou


def answer_loss(
    logits: Tensor, quality: Tensor, truth: Tensor, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss of P prompts and the IoU of their four masks, P x 4.

    quality: P x 4; before: P, the IoU of the answers that these go on from. The single-mask answer
    and the best candidate learn the mask, all four their IoU (Kirillov et al. 2023, section 3).
    """
    each, iou = each_mask_loss(logits, truth)
    single = each[:, 0]
    if before is not None:
        single = single * (1 + (iou[:, 0] < before - WORSE).float())
    guess = F.mse_loss(quality, iou)
    return single.mean() + each[:, 1:].amin(1).mean() + guess, iou


def obedience_loss(logits: Tensor, clicks: Clicks, truth: Tensor) -> Tensor:
    """How far the cells of the clicks are from the side that they were told, in all four masks.

    logits: P x 4 x h x w; truth: P x h x w in 0..1: a neighbor of a click counts where it is of
    the same side.
    """
    size = truth.shape[2]
    cell = (clicks.places * size).long().clamp(0, size - 1)  # P x K x 2
    reach = torch.arange(-NEAR, NEAR + 1, device=cell.device)
    steps = torch.cartesian_prod(reach, reach)  # R x 2
    near = (cell[:, :, None] + steps).clamp(0, size - 1).flatten(1, 2)  # P x K·R x 2
    index = near[..., 1] * size + near[..., 0]
    label = clicks.labels.repeat_interleave(len(steps), dim=1)  # P x K·R
    true = truth.flatten(1).gather(1, index) > 0.5
    own = (steps == 0).all(1).repeat(cell.shape[1])  # the click's own cell always counts
    told = (label != PAD) & (own | (true == (label == IN)))
    there = logits.flatten(2).gather(2, index[:, None].expand(-1, logits.shape[1], -1))
    sign = torch.where(label == IN, 1.0, -1.0)[:, None]
    cost = F.softplus(MARGIN - sign * there) * told[:, None]
    return cost.sum() / (told.sum() * logits.shape[1]).clamp(min=1)


def obeyed(logits: Tensor, clicks: Clicks) -> Tensor:
    """The share of clicks whose cell is on the right side of one mask each, P x h x w."""
    size = logits.shape[2]
    cell = (clicks.places * size).long().clamp(0, size - 1)
    inside = logits.flatten(1).gather(1, cell[..., 1] * size + cell[..., 0]) > 0
    told = clicks.labels != PAD
    return ((inside == (clicks.labels == IN)) & told).sum() / told.sum().clamp(min=1)


def correction(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The next click, where the answer is wrong, in 0..1, P x 2; its label, P.

    logits: P x h x w, truth: P x h x w in 0..1. Two in three: in the middle of the largest error of
    a kind, as an evaluation clicks; the others: anywhere in it, as people do. Where nothing is
    wrong: a place in the thing.
    """
    true = truth > 0.5
    wrong = (logits > 0) != true
    wrong = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, true)
    weight = wrong.flatten(1).float() + 1e-9
    place = torch.multinomial(weight, 1)[:, 0]  # P
    missed, excess = (wrong & true).cpu().numpy(), (wrong & ~true).cpu().numpy()
    kinds = [a if a.sum() >= b.sum() else b for a, b in zip(missed, excess, strict=True)]
    middle = torch.tensor([deepest(one) for one in kinds], device=truth.device)
    place = torch.where(torch.rand(len(place), device=place.device) < 1 / 3, place, middle)
    label = torch.where(true.flatten(1).gather(1, place[:, None])[:, 0], IN, OUT)
    rows, columns = place // truth.shape[2], place % truth.shape[2]
    return (torch.stack((columns, rows), dim=1) + 0.5) / truth.shape[2], label
